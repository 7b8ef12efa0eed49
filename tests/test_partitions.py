"""What is written for any engine, on tables in memory: figures and linkage of one machine."""

from __future__ import annotations

import collections
import itertools

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from conftest import clustered
from distributed import assert_figures, edges_of, local_edges

import dqindex
from dqindex.errors import FileFormatError, InputError
from dqindex.partitions import crowds, linking, lists
from dqindex.partitions import engine as engines
from dqindex.partitions.evaluation import figures_of
from dqindex.partitions.linking import link
from dqindex.partitions.maps import MapFile, open_map, pieces_of
from dqindex.partitions.packets import opened
from dqindex.sids.letters import ASK, letters, packed, schema_of, unpacked
from dqindex.sids.map import SidMap

N, D = 1200, 8


class Here:
    """An engine of tables in memory, in any order and cut anywhere."""

    def __init__(self, seed=0):
        self.rng = np.random.default_rng(seed)

    def cut(self, table, pieces=3):
        table = table.take(pa.array(self.rng.permutation(len(table))))
        ends = np.sort(self.rng.integers(0, len(table) + 1, pieces - 1))
        edges = [0, *ends.tolist(), len(table)]
        return [table.slice(a, b - a) for a, b in itertools.pairwise(edges)]

    def mapped(self, rows, change, schema):
        return [change(table).select(schema.names).cast(schema) for table in rows]

    def grouped(self, rows, column, change, schema):
        table = pa.concat_tables(rows)
        numbers = table[column].to_numpy()
        made = [
            change(group).select(schema.names).cast(schema)
            for value in np.unique(numbers)
            for group in [table.filter(pa.array(numbers == value))]
        ]
        return self.cut(pa.concat_tables([schema.empty_table(), *made]))

    def joined(self, first, second):
        return first + second

    def held(self, rows):
        return rows

    def gathered(self, rows, schema):
        return pa.concat_tables([schema.empty_table(), *rows]).cast(schema)


def sorted_catalogue(text=False):
    vectors = clustered(N, D, seed=1)
    vectors[:40] = vectors[60]
    ids = np.sort(np.random.default_rng(2).permutation(10 * N)[:N])
    names = [f"ß{one:06d}" for one in ids] if text else ids
    lists_ = pa.array(list(vectors), pa.list_(pa.float32()))
    return pa.table({"item_id": pa.array(names), "vector": lists_})


@pytest.mark.parametrize("unique", ["reassign", "none", "suffix"])
@pytest.mark.parametrize("rows", [10**6, 100])
def test_figures_are_those_of_one_machine(monkeypatch, unique, rows):
    monkeypatch.setattr(engines, "BUCKET_ROWS", rows)
    catalogue = sorted_catalogue(text=unique == "suffix")
    sids = dqindex.semantic_ids(catalogue, n_subspaces=3, n_codewords=12, unique=unique)
    engine = Here()
    pieces = engine.cut(pa.concat_tables(pieces_of(sids)))
    kind = pieces[0].schema.field("item_id").type
    vectors = engine.cut(catalogue)
    for given, local in ((None, sids.evaluate()), (vectors, sids.evaluate(catalogue))):
        found = figures_of(engine, pieces, kind, sids.sizes, sids.model, given, 0)
        if given is None:
            assert found["after"].pop("distortion", 0) == pytest.approx(
                local["after"].pop("distortion", 0)
            )
        assert_figures(found, local)
    assert unique == "none" or "before" in local


def test_an_item_without_a_vector_is_named():
    catalogue = sorted_catalogue()
    sids = dqindex.semantic_ids(catalogue, n_subspaces=3, n_codewords=12)
    engine = Here()
    vectors = engine.cut(catalogue.slice(2))
    first = catalogue["item_id"][0].as_py()
    with pytest.raises(InputError, match=f"no vector for 2 items of the map, for example {first}"):
        figures_of(engine, pieces_of(sids), pa.int64(), None, sids.model, vectors, 0)


def test_sizes_that_are_not_the_maps_are_refused():
    sids = dqindex.semantic_ids(sorted_catalogue(), n_subspaces=3, n_codewords=12)
    with pytest.raises(InputError, match="levels of 12 x 5 x 12 codes"):
        figures_of(Here(), pieces_of(sids), pa.int64(), [12, 5, 12], None, None, 0)


def distributed_edges(sids, k):
    engine = Here(3)
    kind = pieces_of(sids)[0].schema.field("item_id").type
    made = link(engine, engine.cut(pa.concat_tables(pieces_of(sids))), kind, k)
    return edges_of(pa.concat_tables(made))


def random_map(n, sizes, seed, skew=1.0):
    rng = np.random.default_rng(seed)
    columns = [(size * rng.random(n) ** skew).astype(np.uint8) for size in sizes]
    codes = np.stack(columns, axis=1)
    ids = pa.array(np.sort(rng.permutation(5 * n)[:n]))
    return SidMap(codes, codes, np.zeros(n, np.float32), list(sizes), ids)


@pytest.mark.parametrize(
    ("n", "sizes", "skew", "k"),
    [
        (300, (8, 8, 8), 1.0, 10),
        (500, (3, 3, 3, 3), 3.0, 4),
        (400, (40,), 2.0, 3),
        (600, (30, 30, 30, 30), 1.5, 7),
        (5, (9, 9), 1.0, 10),
        (200, (1, 4, 1), 1.0, 5),
    ],
)
@pytest.mark.parametrize("rows", [10**6, 500])
def test_edges_are_those_of_one_machine(monkeypatch, n, sizes, skew, k, rows):
    """In one bucket and in many; lists in full, and lists that are cut and taken apart."""
    monkeypatch.setattr(engines, "BUCKET_ROWS", rows)
    sids = random_map(n, sizes, seed=n, skew=skew)
    wanted = local_edges(sids, k)
    assert distributed_edges(sids, k) == wanted
    monkeypatch.setattr(lists, "LONG_LIST", 5)
    monkeypatch.setattr(lists, "PAIRS_AT_ONCE", 64)
    monkeypatch.setattr(lists, "EDGES_AT_ONCE", 256)
    assert distributed_edges(sids, k) == wanted
    monkeypatch.setattr(linking, "JOINED_ITEMS", 10**9)
    assert distributed_edges(sids, k) == wanted


def test_a_crowd_of_one_tuple_makes_few_pairs(monkeypatch):
    """Lists of more than `LONG_LIST` are never joined in full, even if all tokens are the same."""
    sids = random_map(3000, (1, 1, 1, 2), seed=0)
    looked_at = []
    add = lists._Edges.add

    def counted(self, sources, targets):
        looked_at.append(len(sources))
        add(self, sources, targets)

    monkeypatch.setattr(lists._Edges, "add", counted)
    assert distributed_edges(sids, 5) == local_edges(sids, 5)
    assert sum(looked_at) < 3000 * 2**4 * 6


def test_the_rows_of_a_map_file_are_read_by_groups(tmp_path, monkeypatch):
    sids = dqindex.semantic_ids(sorted_catalogue(), n_subspaces=3, n_codewords=12)
    monkeypatch.setattr("dqindex.sids.map_file.ROW_GROUP", 500)
    sids.save(tmp_path / "map.parquet")
    stored = open_map(tmp_path / "map.parquet")
    assert stored.groups == 3
    rows = pa.concat_tables([stored.rows(group) for group in range(stored.groups)])
    assert rows.equals(pa.concat_tables(pieces_of(sids)))
    data = bytearray((tmp_path / "map.parquet").read_bytes())
    data[3000] ^= 1
    (tmp_path / "map.parquet").write_bytes(data)
    with pytest.raises(FileFormatError, match="damaged"):
        [MapFile.rows(stored, group) for group in range(stored.groups)]
    pq.write_table(pa.table({"item_id": [1], "codes": [[1, 2]]}), tmp_path / "foreign.parquet")
    with pytest.raises(FileFormatError, match="does not say how the map was made"):
        open_map(tmp_path / "foreign.parquet")


def test_what_was_counted_of_a_bucket_is_what_all_rows_say():
    """Whatever the order; tuples of no bucket have all their room."""
    rng = np.random.default_rng(3)
    sizes, cap = [4, 300], 2
    codes = np.stack([rng.integers(0, 4, 900), rng.integers(0, 40, 900)], axis=1)
    before = rng.integers(0, 2, 900).astype(np.int32)
    table = pa.table({"tuple": packed(codes, sizes), "before": before})
    parts = [crowds.in_buckets(table.slice(start, 300), sizes, 5) for start in (0, 300, 600)]
    spread = pa.concat_tables([*parts, crowds.in_buckets(table.slice(0, 0), sizes, 5)])
    assert max(map(len, parts)) <= 160  # each tuple once
    packets = [
        crowds.counted_packet(spread.filter(pc.equal(spread["bucket"], bucket)))
        for bucket in range(5)
    ]
    assert [one["bucket"].to_pylist() for one in packets] == [[0], [1], [2], [3], [4]]
    every = pa.concat_tables(packets)
    n = collections.Counter(map(tuple, codes.tolist()))
    old = collections.Counter(map(tuple, codes[before == 1].tolist()))
    full = crowds.overfull(every.select(["packet"]), cap)
    found = [tuple(one) for one in unpacked(full["tuple"], sizes).tolist()]
    said = dict(
        zip(found, zip(full["n"].to_pylist(), full["before"].to_pylist(), strict=True), strict=True)
    )
    assert said == {one: (n[one], old[one]) for one in n if n[one] > cap}
    wanted = np.array([*codes[:50], [3, 299]])
    asks = letters(
        schema_of(pa.int64()), 51, kind=ASK, place=7, bucket=0, tuple=packed(wanted, sizes)
    )
    counts = opened(every, crowds.COUNTED)
    room = crowds.answered(asks, counts, cap)
    assert room["room"].to_pylist() == [max(0, cap - n[tuple(one)]) for one in wanted.tolist()]
    assert set(room["place"].to_pylist()) == {7}
    assert crowds.answered(asks.slice(0, 0), counts, cap).num_rows == 0
