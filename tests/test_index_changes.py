"""Changes of an index: all of a change or nothing, and never past the ids."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
import pytest
from conftest import clustered

from dqindex import build_index, build_like, open_index, open_vectors
from dqindex.errors import BusyError, DQWarning, InputError, NonFiniteError, RangeError, SpecError

X, MORE, QUERIES = np.split(clustered(565, 8, seed=11), [500, 560])
SPECS = ("Flat", "DQ2,PQ2x4fs", "DQ2,IVF4,PQ2x4", "IVF4,PQ4x4fsr", "DQ2,IVF4,PQ2x4,RFlat", "HNSW8")
NAMES = [f"item {row}" for row in range(len(X))]


def built(spec: str, names: Any = NAMES, metric: str = "l2") -> Any:
    return build_index(open_vectors(X, ids=names), spec, metric=metric)


def state(index: Any) -> tuple[Any, ...]:
    """All that a change would change."""
    ids = None if index.ids is None else index.ids.to_pylist()
    found = index.search(QUERIES, 6)
    return faiss.serialize_index(index.index).tobytes(), ids, found.ids.tolist(), index.manifest


def far(row: int, value: float) -> np.ndarray:
    x = MORE.copy()
    x[row, 3] = value
    return x


NEW = [f"new {row}" for row in range(len(MORE))]
REFUSED: dict[str, tuple[np.ndarray, Any, type[Exception], str]] = {
    "an id of the index": (MORE, [*NEW[:-1], "item 3"], InputError, "already in the index.*item 3"),
    "an id twice": (MORE, [*NEW[:-1], NEW[0]], InputError, "more than once.*new 0"),
    "too few ids": (MORE, NEW[:-1], InputError, "59 ids for 60"),
    "no ids": (MORE, None, InputError, "has no ids"),
    "integers": (MORE, list(range(60)), InputError, "are int64, and the ids of this index are str"),
    "a missing id": (MORE, [*NEW[:-1], None], InputError, "missing"),
    "a width": (MORE[:, :7], NEW, InputError, "width 7"),
    "NaN": (far(59, np.nan), NEW, NonFiniteError, "row 59"),
    "infinity": (far(0, np.inf), NEW, NonFiniteError, "row 0"),
    "too long": (far(5, 1e25), NEW, RangeError, "norm"),
}


@pytest.mark.parametrize("kind", list(REFUSED))
@pytest.mark.parametrize("spec", SPECS[:5:2])
def test_what_does_not_fit_is_refused_and_nothing_is_changed(spec, kind):
    index = built(spec)
    x, ids, error, words = REFUSED[kind]
    before = state(index)
    with pytest.raises(error, match=f"(?s){words}"):
        index.add(x, ids=ids, block_rows=7)
    assert state(index) == before
    if "id" not in kind and kind != "integers":
        with pytest.raises(error, match=f"(?s){words}"):
            index.update(x, NAMES[:60], block_rows=7)
        assert state(index) == before


def test_a_wrong_width_is_found_before_anything_is_read():
    index, done = built("DQ2,IVF4,PQ2x4"), []
    for change in (index.add, index.update):
        with pytest.raises(InputError, match="width 5"):
            change(MORE[:, :5], NEW, progress=lambda *now: done.append(now))
    assert not done


def test_an_index_that_counts_takes_no_ids_and_goes_on():
    index = built("DQ2,IVF4,PQ2x4", None)
    with pytest.raises(InputError, match="numbers its vectors itself"):
        index.add(MORE, ids=list(range(1000, 1060)))
    index.remove([0, 7, 499])
    assert 7 not in index
    assert index.ids.to_pylist()[:3] == [1, 2, 3]
    index.add(MORE)
    assert index.ids.to_pylist()[-60:] == list(range(500, 560))


@pytest.mark.parametrize("codec", ["SQfp16", "IVF4,PQ2x4,Refine(SQfp16)"])
def test_what_a_codec_cannot_hold_is_refused(codec):
    index = built(codec)
    before = state(index)
    with pytest.raises(RangeError, match="float16"):
        index.add(far(2, 1e6), ids=NEW)
    assert state(index) == before


class StopError(Exception):
    """What a user's function raises."""


@pytest.mark.parametrize("metric", ["l2", "cosine"])
@pytest.mark.parametrize("spec", SPECS)
def test_a_change_that_is_interrupted_leaves_nothing(spec, metric):
    index = built(spec, metric=metric)
    before = state(index)

    def stop(what: str, done: int, _: int) -> None:
        if what == "add" and done > 20:
            raise StopError

    with pytest.raises(StopError):
        index.add(MORE, ids=NEW, block_rows=7, progress=stop)
    if spec != "HNSW8":  # its graph is made anew, of the same vectors
        assert state(index) == before
    assert len(index) == len(X)
    assert state(index)[1:3] == before[1:3]
    with pytest.raises(StopError):
        index.update(MORE, NAMES[:60], block_rows=7, progress=stop)
    assert state(index)[1:3] == before[1:3]
    index.add(MORE, ids=NEW)
    assert len(index) == 560


def test_unknown_ids_are_refused_or_counted():
    index = built("DQ2,IVF4,PQ2x4")
    before = state(index)
    for wrong in (["item 1", "nobody"], [3], "item 1", ["item 1", "item 1"]):
        with pytest.raises(InputError):
            index.remove(wrong)
        with pytest.raises(InputError):
            index.update(MORE[:2], wrong)
        if wrong != ["item 1", "item 1"]:
            with pytest.raises(InputError):
                index.reconstruct(wrong)
    assert state(index) == before
    assert index.remove(["nobody", "no one"], missing_ok=True) == 2
    assert state(index) == before
    assert index.remove(["nobody", "item 1"], missing_ok=True) == 1
    assert "item 1" not in index
    assert index.remove(NAMES[:1] + NAMES[2:]) == 0
    assert len(index) == 0
    assert (index.search(QUERIES, 3).positions == -1).all()
    index.add(MORE, ids=NEW)
    assert set(index.search(QUERIES, 3).ids.ravel()) <= set(NEW)


@pytest.mark.parametrize("kind", ["uint64", "int64", "int8", "large_string"])
def test_ids_of_every_kind_stay_as_they_are(tmp_path, kind):
    values: dict[str, list[Any]] = {
        "uint64": [2**64 - 1 - row for row in range(500)],
        "int64": [-(2**63) + row for row in range(500)],
        "int8": list(range(-128, 128)),
        "large_string": [f"ключ {row}" for row in range(500)],
    }
    ids = pa.array(values[kind], kind)
    index = build_index(open_vectors(X[: len(ids)], ids=ids), "DQ2,IVF4,PQ2x4")
    index.remove([values[kind][5]])
    index.update(MORE[:1], [values[kind][9]])
    index.save(tmp_path / "index")
    again = open_index(tmp_path / "index")
    left = values[kind][:5] + values[kind][6:]
    assert again.ids.to_pylist() == left
    assert values[kind][5] not in again
    assert values[kind][6] in again
    assert again.search(MORE[:1], 1, filter=[values[kind][9]]).ids[0, 0] == values[kind][9]


@pytest.mark.parametrize("spec", SPECS[:4])
def test_what_faiss_adds_to_rows_that_are_ids_is_true(tmp_path, spec):
    index = built(spec, None)
    index.index.add(MORE)
    index.save(tmp_path / "index")
    again = open_index(tmp_path / "index")
    assert len(again) == 560
    assert again.search(MORE[:1], 1, filter=[500]).ids[0, 0] == 500
    again.add(MORE)
    assert len(again) == 620


def past_the_ids(index: Any, how: str) -> None:
    """A change that FAISS makes and no id follows."""
    if how in ("remove", "swap"):
        index.index.remove_ids(np.arange(40, 100))
    if how in ("add", "swap"):
        index.index.add(MORE)
    if how == "reset":
        index.index.reset()


@pytest.mark.parametrize(
    ("how", "named"),
    [("add", True), *((how, named) for how in ("remove", "swap", "reset") for named in (0, 1))],
)
@pytest.mark.parametrize("spec", ["Flat", "DQ2,PQ2x4", "PQ2x4fs", "IVF4,Flat", "DQ2,IVF4,PQ2x4fs"])
def test_what_faiss_changes_past_the_ids_is_not_saved(tmp_path, spec, how, named):
    folder = tmp_path / "index"
    built(spec, NAMES if named else None).save(folder)
    content = {file.name: file.read_bytes() for file in folder.iterdir()}
    index = open_index(folder)
    past_the_ids(index, how)
    asked: list[Callable[[], object]] = []
    if how != "swap":  # as many were put in as were taken out: only a look at the codes tells
        asked = [
            lambda: index.search(QUERIES, 3),
            lambda: index.reconstruct([0]),
            lambda: 0 in index,
        ]
    for change in (
        lambda: index.save(folder),
        lambda: index.save(tmp_path / "other"),
        lambda: index.add(MORE, ids=NEW if named else None),
        lambda: index.remove(NAMES[-1:] if named else [499]),
        *asked,
    ):
        with pytest.raises(InputError, match="changed directly"):
            change()
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == content
    assert not (tmp_path / "other").exists()


def test_what_another_published_meanwhile_is_not_lost(tmp_path):
    folder = tmp_path / "index"
    built("DQ2,IVF4,PQ2x4").save(folder)
    first, second = open_index(folder), open_index(folder)
    reader = open_index(folder)
    before = reader.search(QUERIES, 5).ids.tolist()
    first.add(MORE[:30], ids=NEW[:30])
    first.save(folder)
    second.add(MORE[30:], ids=NEW[30:])
    with pytest.raises(BusyError, match="another version was published"):
        second.save(folder)
    assert open_index(folder).ids.to_pylist() == NAMES + NEW[:30]
    assert reader.search(QUERIES, 5).ids.tolist() == before
    first.remove(NAMES[:5])
    first.save(folder)
    assert len(open_index(folder)) == 525
    second.save(tmp_path / "other")
    assert len(open_index(tmp_path / "other")) == 530


@pytest.mark.parametrize(
    "spec", ["DQ2,PQ2x4", "DQ2_4,IVF4,PQ2x4", "DQ4,IVF4,PQ4x4fs,RFlat", "IVF4,Flat"]
)
def test_new_vectors_that_look_different_are_told_of(tmp_path, spec):
    x = clustered(2300, 8, seed=1, clusters=5)
    build_index(x[:2000], spec).save(tmp_path / "index")
    index = open_index(tmp_path / "index")
    trained = index.manifest["distortion"]["trained"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        index.add(x[2000:])
        assert index.manifest["distortion"]["added"] == pytest.approx(trained, rel=0.2)
        index.add(9 * x[:1])  # one says nothing
    with pytest.warns(DQWarning, match="look different") as told:
        index.add(3 * clustered(300, 8, seed=2))
    assert Path(told[0].filename) == Path(__file__)
    index.save(tmp_path / "index")
    kept = open_index(tmp_path / "index").manifest["distortion"]
    assert kept["trained"] == trained
    assert kept["added_rows"] == 601
    assert kept["added"] > 2 * trained


@pytest.mark.parametrize("spec", ["IVF4,FlatPanorama", "IVF4,FlatDedup"])
def test_what_faiss_gives_no_way_to_change_is_refused_before(spec):
    index = built(spec)
    before = state(index)
    for change in (lambda: index.remove(["item 1"]), lambda: index.update(MORE[:1], ["item 1"])):
        with pytest.raises(SpecError, match="can't return the codes of its"):
            change()
    assert state(index) == before
    index.add(MORE, ids=NEW)
    assert len(index) == 560


# Kinds that hold codes in ways of their own.
KINDS = """
    SQ4 SQfp16 PQ4x5 PQ4x8 RaBitQ RaBitQfs2_64 RQ2x4 PRQ2x2x4fs_32_Nrq2x4 LSH12r,RFlat IVF4,SQ6
    IVF4,PQ4x5 IVF4,RaBitQ4 IVF4,RaBitQfs4 IVF4,RQ2x4 IVF4,RQ2x4fsr_32_Nrq2x4 IMI2x2,PQ4x4
    IVF4,PQ4+4 IVF4_HNSW8,PQ4x4 PQ4x4,Refine(PQ4x5) HNSW8,Flat HNSW8_FlatPanorama4 IVF4,FlatPanorama
""".split()


@pytest.mark.parametrize("spec", KINDS)
def test_every_kind_of_codes_is_as_if_it_were_built_of_what_is_left(tmp_path, spec):
    index, every = built(spec, None), {"nprobe": 4} if "I" in spec else {}
    left = X
    if spec == "IVF4,FlatPanorama":
        with pytest.raises(SpecError, match="can't return the codes of its"):
            index.remove([1])
    else:
        index.remove(np.arange(0, 500, 3))
        index.update(MORE[:20], np.arange(1, 60, 3))
        left = X.copy()
        left[1:60:3] = MORE[:20]
        left = left[np.arange(500) % 3 > 0]
    index.add(MORE[20:])
    again = build_like(np.concatenate([left, MORE[20:]]), index)
    one, other = (ask.search(QUERIES, 9, parameters=every) for ask in (index, again))
    assert np.array_equal(one.positions, other.positions)
    np.testing.assert_allclose(one.distances, other.distances, rtol=1e-5)
    if not spec.startswith("HNSW8"):
        assert (
            faiss.serialize_index(index.index).tobytes()
            == faiss.serialize_index(again.index).tobytes()
        )
    index.save(tmp_path / "index")
    read = open_index(tmp_path / "index")
    rows = read.names.take(np.arange(0, len(read), 7))
    vectors = again.reconstruct(np.arange(0, len(read), 7))
    assert np.array_equal(read.reconstruct(rows), vectors)
    among = read.search(QUERIES, 9, filter=rows, parameters=every)
    assert np.isin(among.ids, rows).all()
    assert read.range_search(QUERIES, among.distances.max() + 1e-3, parameters=every).limits[-1]
