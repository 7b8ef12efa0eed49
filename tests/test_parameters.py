"""Every parameter of every public callable, with values of every wrong kind.

A wrong value gives an error of `dqindex.errors`, which speaks our words, and never an error from
deep inside. What a parameter's annotation allows may also succeed; everything else must not.
"""

from __future__ import annotations

import inspect
import itertools
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from conftest import clustered

import dqindex
from dqindex import errors
from dqindex.sids.append import append
from dqindex.sids.formats import export
from dqindex.sids.refit import refit

WRONG: dict[str, Any] = {
    "int": 7,
    "float": 2.5,
    "text": "nonsense",
    "None": None,
    "list": ["x", None],
    "NaN": float("nan"),
    "negative": -1,
    # No count is as large; and more than int32, int64, uint64 and float64's integers hold.
    "2**31": 2**31,
    "2**63": 2**63,
    "2**70": 2**70,
    "10**30": 10**30,
}
LARGE = {"2**31", "2**63", "2**70", "10**30"}
# What a call may take on top, whatever it is asked for.
MEMORY = 4 * 2**30
# What an annotation lets through: such a value may succeed, or be refused for what it is.
ALLOWED = {
    "int": {"int", *LARGE},
    "float": {"int", "float", *LARGE},
    "str": {"text"},
    "bool": set(),
    "None": {"None"},
}
# Values that are right although they look wrong, and parameters that nobody reads.
RIGHT = {
    "y": set(WRONG),  # scikit-learn's contract: it is there, and ignored
    "deep": set(WRONG),
    "VectorSource.rows.positions": {"int"},  # one row
    "VectorSource.with_ids.ids": {"None"},  # none
    "DQIndex.range_search.radius": {"negative"},  # of a product
}
# Made by the library and handed out: a user does not construct them.
MADE_BY_US = {"DQIndex", "Losses", "RangeResult", "SearchResult", "SemanticIds", "VectorSource"}

X = clustered(400, 8)


class Target(NamedTuple):
    """A callable, arguments that are right for it, and where its ``**settings`` are declared."""

    call: Callable[..., Any]
    right: dict[str, Any]
    settings: Callable[..., Any] | None = None


def built(kind: type, fit: tuple[str, ...] = ()) -> Callable[..., Any]:
    """An estimator's constructor and its ``fit`` as one call: the constructor only stores."""

    def make(**parameters: Any) -> Any:
        given = {name: parameters.pop(name) for name in fit if name in parameters}
        return kind(**parameters).fit(X, **given)

    return make


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong value may be a name that is then written to."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One of each class, small, and files of them."""
    folder = tmp_path_factory.mktemp("things")
    model = dqindex.DQModel(2, 8, coarse=(4,)).fit(X)
    transform = dqindex.DQTransform(2).fit(X)
    index = dqindex.build_index(X, "DQ2,IVF4,PQ2x4")
    sids = dqindex.semantic_ids(X[:300], n_subspaces=2, n_codewords=32)
    sids.save(folder / "map.parquet")
    model.save(folder / "model.safetensors")
    index.save(folder / "index")
    np.save(folder / "x.npy", X)
    return {
        "folder": folder,
        "DQModel": model,
        "DQTransform": transform,
        "ProductCodebooks": dqindex.ProductCodebooks(2, 8).fit(X),
        "DQVAE": dqindex.DQVAE(2, 8, n_epochs=1).fit(X, transform=transform),
        "DQIndex": index,
        "SearchResult": index.search(X[:3]),
        "SemanticIds": sids,
        "Moments": dqindex.Moments(8).update(X.astype(np.float64)),
        "VectorSource": dqindex.open_vectors(X),
    }


def target(name: str, things: dict[str, Any]) -> Target:
    """How to call `name`, rightly."""
    folder: Path = things["folder"]
    small = {"n_subspaces": 2, "n_codewords": 8}
    model, sids, moments = things["DQModel"], things["SemanticIds"], things["Moments"]
    targets: dict[str, tuple[Any, ...]] = {
        "DQModel": (built(dqindex.DQModel), small),
        "DQTransform": (built(dqindex.DQTransform), {"n_subspaces": 2}),
        "ProductCodebooks": (built(dqindex.ProductCodebooks), small),
        "DQVAE": (built(dqindex.DQVAE), {**small, "n_epochs": 1}),
        "Moments": (dqindex.Moments, {"d": 8}),
        "build_index": (dqindex.build_index, {"vectors": X, "spec": "DQ2,PQ2x4"}),
        "build_to_target": (
            dqindex.build_to_target,
            {"vectors": X, "target_recall": 0.5, "spec": "DQ2,IVF4,PQ2x4"},
            dqindex.build_index,
        ),
        "build_like": (dqindex.build_like, {"vectors": X, "like": folder / "index"}),
        "merge_indexes": (dqindex.merge_indexes, {"indexes": [folder / "index"]}),
        "deal": (dqindex.deal, {"variances": [3.0, 2, 1, 1], "n_groups": 2}),
        "distortion": (dqindex.distortion, {"vectors": X, "reconstructed": X}),
        "exact_neighbors": (dqindex.exact_neighbors, {"vectors": X, "queries": X[:3]}),
        "open_index": (dqindex.open_index, {"folder": folder / "index"}),
        "open_vectors": (
            lambda **given: (source := dqindex.open_vectors(**given), source.ids),
            {"path": X},
        ),
        "read_sids": (dqindex.read_sids, {"path": folder / "map.parquet"}),
        "recall_at": (dqindex.recall_at, {"found": [[1, 2]], "true": [[2, 3]]}),
        "semantic_ids": (dqindex.semantic_ids, {"vectors": X[:50], **small}),
        "validate": (dqindex.validate, {"X": X[:64], **small, "train_rows": 64}),
        "VectorSource.numbers": (
            dqindex.open_vectors(pa.table({"v": list(X), "sales": range(400)})).numbers,
            {"column": "sales"},
        ),
        "DQModel.fit_parts": (
            dqindex.DQModel(2, 8).fit_parts,
            {"parts": [dqindex.open_vectors(X, ids=np.arange(400))]},
        ),
        "DQModel.encode_blocks": (model.encode_blocks, {"blocks": [X]}),
        "DQModel.check_settings": (dqindex.DQModel(2).check_settings, {"d": 8}),
        "DQModel.decode": (model.decode, {"codes": model.encode(X)}),
        "DQModel.from_bytes": (
            dqindex.DQModel.from_bytes,
            {"data": model.to_bytes(), "name": "bytes"},
        ),
        "DQModel.from_parts": (
            dqindex.DQModel.from_parts,
            {"transform": things["DQTransform"], "codebooks": things["ProductCodebooks"]},
        ),
        "DQModel.load": (dqindex.DQModel.load, {"path": folder / "model.safetensors"}),
        "DQModel.save": (model.save, {"path": folder / "saved.safetensors"}),
        "DQModel.training_rows": (model.training_rows, {"d": 8}),
        "DQTransform.fit_moments": (dqindex.DQTransform(2).fit_moments, {"moments": moments}),
        "DQTransform.from_faiss": (
            dqindex.DQTransform.from_faiss,
            {"linear": things["DQTransform"].to_faiss(), "n_subspaces": 2},
        ),
        "DQTransform.get_feature_names_out": (
            things["DQTransform"].get_feature_names_out,
            {"input_features": None},
        ),
        "DQVAE.fit": (dqindex.DQVAE(2, 8, n_epochs=1).fit, {"X": X}),
        "ProductCodebooks.decode": (
            things["ProductCodebooks"].decode,
            {"codes": things["ProductCodebooks"].encode(X)},
        ),
        "ProductCodebooks.fit": (dqindex.ProductCodebooks(2, 8).fit, {"Y": X}),
        "ProductCodebooks.from_codebooks": (
            dqindex.ProductCodebooks.from_codebooks,
            {"codebooks": things["ProductCodebooks"].codebooks_},
            dqindex.ProductCodebooks,
        ),
        "DQIndex.save": (things["DQIndex"].save, {"folder": folder / "saved"}),
        "DQIndex.search": (things["DQIndex"].search, {"queries": X[:3]}),
        "DQIndex.range_search": (
            things["DQIndex"].range_search,
            {"queries": X[:3], "radius": 1.0},
        ),
        "DQIndex.reconstruct": (things["DQIndex"].reconstruct, {"ids": [1, 2]}),
        "DQIndex.add": (things["DQIndex"].add, {"vectors": X}),
        "DQIndex.remove": (things["DQIndex"].remove, {"ids": [3]}),
        "DQIndex.update": (things["DQIndex"].update, {"vectors": X[:2], "ids": [1, 2]}),
        "DQIndex.set_parameters": (
            things["DQIndex"].set_parameters,
            {"parameters": {"nprobe": 2}},
        ),
        "SearchResult.table": (things["SearchResult"].table, {"queries": ["a", "b", "c"]}),
        "Moments.merge": (dqindex.Moments(8).merge, {"other": moments}),
        "Moments.update": (dqindex.Moments(8).update, {"block": X.astype(np.float64)}),
        "SemanticIds.append": (sids.append, {"vectors": X[300:]}, append),
        "SemanticIds.attach": (sids.attach, {"model": sids.model}),
        "SemanticIds.evaluate": (sids.evaluate, {"vectors": X[:300]}),
        "SemanticIds.export": (sids.export, {"path": folder / "x.csv", "form": "csv"}, export),
        "SemanticIds.find": (sids.find, {"tuples": sids.codes}),
        "SemanticIds.rows_of": (sids.rows_of, {"ids": [3, 4]}),
        "SemanticIds.load": (dqindex.SemanticIds.load, {"path": folder / "map.parquet"}),
        "SemanticIds.of": (dqindex.SemanticIds.of, {"data": sids}),
        "SemanticIds.refit": (sids.refit, {"vectors": X[:300]}, refit),
        "SemanticIds.save": (sids.save, {"path": folder / "saved.parquet"}),
        "SemanticIds.table": (sids.table, {"rows": slice(0, 3)}),
        "VectorSource.rows": (things["VectorSource"].rows, {"positions": [1, 2]}),
        "VectorSource.sample": (things["VectorSource"].sample, {"k": 3}),
        "VectorSource.with_ids": (
            lambda **given: dqindex.open_vectors(X).with_ids(**given).ids,
            {"ids": np.arange(400)},
        ),
    }
    if name in targets:
        return Target(*targets[name])
    owner, _, method = name.partition(".")
    call = getattr(things[owner], method)
    needed = [
        one.name
        for one in inspect.signature(call).parameters.values()
        if one.default is one.empty and one.kind is one.POSITIONAL_OR_KEYWORD
    ]
    return Target(call, dict.fromkeys(needed, X))


def parameters(function: Any, settings: Any = None) -> Iterator[inspect.Parameter]:
    """The parameters by name, those behind ``**settings`` included."""
    for one in inspect.signature(function).parameters.values():
        if one.kind is inspect.Parameter.VAR_KEYWORD:
            if settings is not None:
                yield from list(parameters(settings))[1:]
        elif one.name not in ("self", "cls"):
            yield one


def walk() -> Iterator[tuple[str, Any]]:
    """Every public function, constructor, and method that is not a constructor's twin."""
    for name in dqindex.__all__:
        thing = getattr(dqindex, name)
        if inspect.isfunction(thing):
            yield name, thing
        if inspect.isclass(thing):
            if name not in MADE_BY_US:
                yield name, thing
            for member, function in inspect.getmembers(thing, callable):
                made = inspect.isfunction(function) or inspect.ismethod(function)
                if made and not member.startswith("_"):
                    yield f"{name}.{member}", function


def settings_of(name: str) -> Any:
    """Where a callable's ``**settings`` are declared."""
    return {
        "build_to_target": dqindex.build_index,
        "SemanticIds.append": append,
        "SemanticIds.export": export,
        "SemanticIds.refit": refit,
        "ProductCodebooks.from_codebooks": dqindex.ProductCodebooks,
    }.get(name)


def cases() -> Iterator[tuple[str, str, str]]:
    """Callable, parameter, and what is allowed by its annotation."""
    for name, function in walk():
        seen = set()
        for one in parameters(function, settings_of(name)):
            if one.name in seen:
                continue
            seen.add(one.name)
            words = str(one.annotation).replace("ForwardRef", "")
            allowed = {word for part in words.split("|") for word in ALLOWED.get(part.strip(), ())}
            if one.default is None:
                allowed.add("None")
            allowed |= RIGHT.get(one.name, set()) | RIGHT.get(f"{name}.{one.name}", set())
            yield name, one.name, ",".join(sorted(allowed))


@contextmanager
def little_memory() -> Iterator[None]:
    """What asks for more than `MEMORY` gets none, where the system can be told so."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    held = int(statm.read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def faults(call: Target, parameter: str, allowed: set[str]) -> list[str]:
    """What goes wrong, a line for each value that does."""
    found = []
    for kind, value in WRONG.items():
        try:
            with little_memory():
                result = call.call(**{**call.right, parameter: value})
                if isinstance(result, Iterator):
                    list(itertools.islice(result, 3))
        except (errors.DQIndexError, errors.DQWarning):
            continue
        except Exception as error:
            found.append(f"{kind} {value!r}: {type(error).__name__}: {str(error)[:120]}")
        else:
            if kind not in allowed:
                found.append(f"{kind} {value!r}: no error")
    return found


@pytest.mark.parametrize(("name", "parameter", "allowed"), list(cases()))
def test_a_wrong_value_is_refused_in_our_words(name, parameter, allowed, things):
    wrong = faults(target(name, things), parameter, set(allowed.split(",")))
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", sorted({name for name, _, _ in cases()}))
def test_what_is_right_is_taken(name, things):
    call = target(name, things)
    result = call.call(**call.right)
    if isinstance(result, Iterator):
        list(result)
