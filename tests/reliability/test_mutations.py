"""Artefacts of ours that were damaged: each is refused in our words, or answers as before.

Each mutant is opened in a child with a limit of memory and of time: a crash, a stall, a raw error
of a library under us and another answer all count as violations.
"""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import clustered

from dqindex import DQModel, build_index, open_index, open_vectors, semantic_ids
from dqindex.bench.results import read_results
from dqindex.bench.truth import cached_truth, content_key
from dqindex.sids.semantic_ids import SemanticIds
from reliability.children import Children, Outcome, Ran, command, ended
from reliability.counts import Tally
from reliability.mutants import Mutant, damaged, edited, edited_safetensors, stand_ins

# The right answer, or what tells whether an answer is right.
Right = Any
N, D = 300, 12
SPEC = "DQ4,IVF4,PQ4x4"


def base() -> np.ndarray:
    return clustered(N, D, seed=3)


def queries() -> np.ndarray:
    return clustered(20, D, seed=4)


@pytest.fixture(scope="module")
def names() -> list[str]:
    return [f"item {place}" for place in range(N)]


def judge(count: Tally, what: str, outcome: Outcome, right: Right) -> None:
    """A typed error or the right answer; all else is a violation."""
    if outcome.kind == "answer" and isinstance(outcome.value, Ran):
        outcome = ended(outcome.value)
    same = right(outcome.value) if callable(right) else outcome.value == right
    if outcome.kind == "typed":
        count.tried("refused")
    elif outcome.kind == "answer" and same:
        count.tried("same answer")
    else:
        count.tried()
        text = "another answer" if outcome.kind == "answer" else outcome.said
        count.violation(f"{what}: {text}")


def try_file(
    count: Tally,
    children: Children,
    path: Path,
    mutants: Iterable[Mutant],
    call: tuple[Any, ...],
    right: Right = None,
) -> None:
    """Put each mutant at `path`, and judge ``call[0](*call[1:])`` in a child.

    Before and after the call must give one answer, which is the right one unless `right` says.
    """
    whole = path.read_bytes()
    before = children.run(*call)
    assert before.kind == "answer", before.said
    if right is None:
        right = before.value.out if isinstance(before.value, Ran) else before.value
    for what, content in mutants:
        if content != whole:
            path.write_bytes(content)
            judge(count, f"{path.name}: {what}", children.run(*call, seconds=10), right)
    path.write_bytes(whole)
    assert children.run(*call).value == before.value


def try_stand_ins(count: Tally, children: Children, path: Path, call: tuple[Any, ...]) -> None:
    """Put what is no regular file at `path`: `call` must refuse it, and not wait for it."""
    whole = path.read_bytes()
    for what in stand_ins(path):
        outcome = children.run(*call, memory=2**28, seconds=5)
        judge(count, f"{path.name} is {what}", outcome, "no answer is right")
    path.write_bytes(whole)


# Models.


def encodes(path: Path) -> tuple[Any, ...]:
    """All that a model does: its codes, its vectors, its settings."""
    model = DQModel.load(path)
    codes = model.encode(base())
    return (model.get_params(), model.code_sizes(), codes.tolist(), model.decode(codes).tobytes())


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    DQModel(4, 8, coarse=(4,)).fit(base()).save(path)
    return path


def test_a_damaged_model_is_refused(tally, children, long, model_file):
    content = model_file.read_bytes()
    call = (encodes, model_file)
    with tally("mutated model") as count:
        try_file(count, children, model_file, damaged(content, 40 if long else 2), call)
        try_file(count, children, model_file, edited_safetensors(content, 1 if long else 40), call)
        try_stand_ins(count, children, model_file, call)
        info = (command, "info", model_file, "--json")
        try_file(count, children, model_file, edited_safetensors(content, 7 if long else 400), info)
        try_stand_ins(count, children, model_file, info)


# Index folders.


def searches(folder: Path) -> tuple[Any, ...]:
    """All that an index does: what it finds, and what it says of itself."""
    index = open_index(folder)
    found = index.search(queries(), 5)
    ids = None if index.ids is None else index.ids.to_pylist()
    model = None if index.model is None else index.model.fingerprint
    said = (index.spec, index.n, index.d, index.manifest["metric"], ids, model)
    return said, found.ids.tolist(), found.distances.tobytes()


@pytest.fixture
def folder(tmp_path: Path, names: list[str]) -> Path:
    build_index(open_vectors(base(), ids=names), SPEC).save(tmp_path / "index")
    return tmp_path / "index"


def test_a_damaged_index_folder_is_refused(tally, children, long, folder):
    manifest = folder / "manifest.json"
    record = json.loads(manifest.read_bytes())
    call = (searches, folder)
    info = (command, "info", folder, "--json")
    with tally("mutated index folder") as count:
        for file in sorted(folder.iterdir()):
            try_file(count, children, file, damaged(file.read_bytes(), 30 if long else 1), call)
            try_stand_ins(count, children, file, call)
        for every, one in ((1 if long else 20, call), (6 if long else 200, info)):
            edits = [(what, json.dumps(edit).encode()) for what, edit in edited(record, every)]
            try_file(count, children, manifest, edits, one)


def test_files_of_another_index_are_refused(tally, children, folder, tmp_path, names):
    """Each file of another index under this one's names; the manifest of another beside them."""
    other = tmp_path / "other"
    build_index(open_vectors(clustered(N, D, seed=8), ids=names[::-1]), SPEC).save(other)
    record = json.loads((folder / "manifest.json").read_bytes())
    files = record["files"]
    others = json.loads((other / "manifest.json").read_bytes())["files"]
    right = children.run(searches, folder).value
    mixed = tmp_path / "mixed"
    with tally("mutated index folder") as count:
        for role, entry in files.items():
            for foreign in others.values():
                shutil.copytree(folder, mixed, dirs_exist_ok=True)
                shutil.copy(other / foreign["name"], mixed / entry["name"])
                judge(count, f"{role} is {foreign['name']}", children.run(searches, mixed), right)
            shutil.rmtree(mixed)
        shutil.copytree(folder, mixed)
        shutil.copy(other / "manifest.json", mixed / "manifest.json")
        judge(count, "manifest of another", children.run(searches, mixed), right)
        for role, named in itertools.permutations(files, 2):
            swapped = {**record, "files": {**files, role: files[named]}}
            (mixed / "manifest.json").write_text(json.dumps(swapped))
            what = f"{role} names the file of {named}"
            judge(count, what, children.run(searches, mixed), right)
            fewer = {name: entry for name, entry in files.items() if name != role}
            (mixed / "manifest.json").write_text(json.dumps({**record, "files": fewer}))
            judge(count, f"{role} is not named", children.run(searches, mixed), right)


# Maps.


def reads_map(path: Path) -> tuple[Any, ...]:
    """All that a map holds."""
    sids = SemanticIds.load(path)
    return (
        (sids.sizes, sids.unique, sids.cap, sids.fingerprint),
        None if sids.ids is None else sids.ids.to_pylist(),
        sids.codes.tolist(),
        sids.base_codes.tolist(),
        sids.distortion.tobytes(),
    )


@pytest.fixture(scope="module")
def map_file(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> Path:
    path = tmp_path_factory.mktemp("map") / "map.parquet"
    semantic_ids(base(), names, n_subspaces=3, n_codewords=8, coarse=(4,)).save(path)
    return path


def edited_maps(path: Path, every: int) -> Iterable[Mutant]:
    """A map with each field of its record edited, and its columns changed in every way."""
    table = pq.read_table(path)
    record = json.loads(table.schema.metadata[b"dqindex"])
    for what, one in edited(record, every):
        yield (
            f"record: {what}",
            _parquet(table.replace_schema_metadata({"dqindex": json.dumps(one)})),
        )
    for text in ("", "{", "null", "\x00", '{"format": "dqindex-sids"}'):
        yield f"record is {text!r}", _parquet(table.replace_schema_metadata({"dqindex": text}))
    codes = table.column("codes").to_pylist()
    ids = table.column("item_id").to_pylist()
    wrong: dict[str, list[tuple[str, pa.Array]]] = {
        "codes": [
            ("a null", pa.array([None, *codes[1:]])),
            ("a null token", pa.array([[None, *codes[0][1:]], *codes[1:]])),
            ("a shorter row", pa.array([codes[0][:-1], *codes[1:]])),
            ("a negative token", pa.array([[-1, *codes[0][1:]], *codes[1:]])),
            ("a token beyond its size", pa.array([[200, *codes[0][1:]], *codes[1:]])),
            ("a token of 2**40", pa.array([[2**40, *codes[0][1:]], *codes[1:]])),
            ("no tokens", pa.array([[] for _ in codes], pa.list_(pa.int32()))),
            ("numbers", pa.array([row[0] for row in codes])),
            ("strings", pa.array([list(map(str, row)) for row in codes])),
            ("fractions", pa.array([list(map(float, row)) for row in codes])),
            ("one of two items", pa.array([codes[1], *codes[1:]])),
        ],
        "base_codes": [
            ("a shorter row", pa.array([codes[0][:-1], *codes[1:]])),
            ("fewer levels", pa.array([row[:-2] for row in codes])),
            ("a null", pa.array([None, *codes[1:]])),
            ("numbers", pa.array([row[0] for row in codes])),
            ("a token beyond its size", pa.array([[200, *codes[0][1:]], *codes[1:]])),
        ],
        "item_id": [
            ("a null", pa.array([None, *ids[1:]])),
            ("twice the same", pa.array([ids[1], *ids[1:]])),
            ("lists", pa.array([[one] for one in ids])),
            ("fractions", pa.array(np.arange(len(ids)) + 0.5)),
            ("truth", pa.array([True] * len(ids))),
        ],
        "distortion": [
            ("a null", pa.array([None, *([0.5] * (len(ids) - 1))])),
            ("strings", pa.array(ids)),
            ("lists", pa.array([[0.5]] * len(ids))),
            ("negative", pa.array([-1.0] * len(ids))),
        ],
    }
    for column, values in wrong.items():
        place = table.column_names.index(column)
        yield f"no column {column}", _parquet(table.remove_column(place))
        for what, array in values:
            yield f"{column}: {what}", _parquet(table.set_column(place, column, array))
    yield "no rows", _parquet(table.slice(0, 0))
    yield "fewer rows", _parquet(table.slice(0, 100))
    yield "a column twice", _parquet(table.append_column("codes", table.column("codes")))


def ended_footers(content: bytes) -> Iterable[Mutant]:
    """Zeros about the place where the record begins end the footer there: the record is lost."""
    record = content.index(b"dqindex", len(content) - int.from_bytes(content[-8:-4], "little"))
    for start in range(record - 12, record + 1):
        for end in (record + 40, len(content) - 8):
            zeros = bytes(end - start)
            yield f"bytes {start} to {end} are zeros", content[:start] + zeros + content[end:]


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue())


def test_a_damaged_map_is_refused(tally, children, long, map_file):
    content = map_file.read_bytes()
    call = (reads_map, map_file)
    with tally("mutated map") as count:
        try_file(count, children, map_file, damaged(content, 60 if long else 4), call)
        try_file(count, children, map_file, ended_footers(content), call)
        edits = list(edited_maps(map_file, 1 if long else 12))
        try_file(count, children, map_file, edits, call)
        try_stand_ins(count, children, map_file, call)
        for words in (("info",), ("sids", "evaluate")):
            asked = (command, *words, map_file, "--json")
            try_file(count, children, map_file, edits[:: 3 if long else 10], asked)


def test_the_model_of_another_map_is_refused(tally, children, map_file, model_file, tmp_path):
    from dqindex.sids.map_file import model_beside

    copy = tmp_path / "map.parquet"
    shutil.copy(map_file, copy)
    beside = model_beside(copy, SemanticIds.load(copy).fingerprint)
    shutil.copy(model_file, str(beside))
    np.save(tmp_path / "new.npy", queries())
    with tally("mutated map") as count:
        ran = children.run(
            command, "sids", "append", copy, tmp_path / "new.npy", "-o", tmp_path / "out.parquet"
        )
        judge(count, "the model beside it is another", ran, "no answer is right")


# Results and the truth cache.


@pytest.fixture(scope="module")
def results_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from dqindex.bench.dataset import Description
    from dqindex.bench.run import run

    folder = tmp_path_factory.mktemp("results")
    np.save(folder / "base.npy", base())
    description = Description(str(folder / "base.npy"), None, None, 20, 0)
    run(description, [f"dqindex:{SPEC}"], folder / "r.jsonl", threads=[1], grid={"nprobe": [1, 2]})
    return folder / "r.jsonl"


def reads_results(path: Path) -> str:
    return json.dumps(read_results([path]), sort_keys=True)


def first_lines(right: str) -> Callable[[Any], bool]:
    """All lines, or the first of them: what a kill cut off, at the end, is left out by design."""
    records = json.loads(right)
    prefixes = [json.dumps(records[:end], sort_keys=True) for end in range(len(records) + 1)]
    return lambda answer: answer in prefixes


def test_damaged_results_are_refused(tally, children, long, results_file, tmp_path):
    content = results_file.read_bytes()
    lines = content.splitlines(keepends=True)
    call = (reads_results, results_file)
    report = (command, "bench", "report", results_file, "-o", tmp_path / "page.html")
    # The same results twice are the same results: files may be joined.
    damage = [mutant for mutant in damaged(content, 40 if long else 5) if mutant[0] != "twice"]
    with tally("mutated results") as count:
        right = first_lines(reads_results(results_file))
        try_file(count, children, results_file, damage, call, right)
        try_stand_ins(count, children, results_file, call)
        for place, line in enumerate(lines):
            older = line.replace(b'"format_version": 2', b'"format_version": 1')
            assert older != line
            said = b"".join([*lines[:place], older, *lines[place + 1 :]])
            twice = b"".join([*lines[:place], line, *lines[place:]])
            edits = [(f"line {place} is said older", said), (f"line {place} is twice", twice)]
            try_file(count, children, results_file, edits, call, right)
            edits = []
            for what, one in edited(json.loads(line), 2 if long else 50):
                changed = [*lines[:place], json.dumps(one).encode() + b"\n", *lines[place + 1 :]]
                edits.append((f"line {place}: {what}", b"".join(changed)))
            try_file(count, children, results_file, edits[:: 1 if long else 3], call, right)
            try_file(count, children, results_file, edits[:: 5 if long else 60], report)


def truths(beside: Path) -> tuple[Any, ...]:
    key = content_key(base(), queries(), "l2")
    truth, _ = cached_truth(base(), queries(), 10, "l2", key, beside)
    return truth.positions.tolist(), truth.distances.tobytes()


def test_a_damaged_truth_cache_gives_the_right_neighbours(
    tally, children, long, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    right = truths(tmp_path)
    (file,) = (tmp_path / ".dqindex-bench").iterdir()
    content = file.read_bytes()
    other = content_key(queries(), base()[:20], "l2")
    cached_truth(queries(), base()[:20], 10, "l2", other, tmp_path / "o")
    (foreign,) = (tmp_path / "o" / ".dqindex-bench").iterdir()
    mutants = [
        ("another cache", foreign.read_bytes()),
        *damaged(content, 20 if long else 1),
        *edited_safetensors(content, 1 if long else 40),
    ]
    with tally("mutated truth cache") as count:
        for what, one in mutants:
            file.write_bytes(one)
            outcome = children.run(truths, tmp_path)
            count.tried()
            if outcome.kind != "answer" or outcome.value != right:
                count.violation(f"{what}: {outcome.said[:300]}")
