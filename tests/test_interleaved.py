"""Codes in blocks: packed and unpacked as FAISS lays them."""

from __future__ import annotations

import faiss
import numpy as np
import pytest

from dqindex.index.codes import codes_at, flat_codes, list_codes, lists_of
from dqindex.index.interleaved import Layout, layout_of

X = np.random.default_rng(4).normal(size=(333, 16)).astype(np.float32)


@pytest.mark.parametrize("spec", ["PQ1x4fs", "PQ4x4fs", "PQ8x4fs", "RaBitQfs", "RaBitQfs3"])
def test_a_block_of_32_is_what_faiss_unpacks(spec):
    index = faiss.index_factory(16, spec)
    index.train(X)
    index.add(X)
    packer = index.get_CodePacker()
    blocks = faiss.rev_swig_ptr(index.codes.get(), index.codes.size()).reshape(
        -1, packer.block_size
    )
    expected = [packer.unpack_1(blocks[[row // 32]], row % 32) for row in range(333)]
    assert np.array_equal(flat_codes(index), expected)
    rows = np.array([332, 0, 31, 32, 5, 5])
    assert np.array_equal(codes_at(index, rows), np.array(expected)[rows])
    assert np.array_equal(layout_of(index).pack(flat_codes(index)), blocks.ravel())


@pytest.mark.parametrize("size", [64, 96, 128])
@pytest.mark.parametrize("spec", ["PQ8x4fs", "IVF1,PQ8x4fs", "IVF1,PQ8x4fsr"])
def test_larger_blocks_hold_the_same_codes(spec, size):
    found = []
    for text in (spec, f"{spec}_{size}"):
        index = faiss.index_factory(16, text)
        index.train(X)
        index.add(X)
        if "IVF" not in spec:
            assert np.array_equal(codes_at(index, np.arange(333)), flat_codes(index))
            found.append(flat_codes(index))
            continue
        found.append(list_codes(index, 0))
        layout, held = layout_of(index), -(-333 // layout_of(index).rows) * layout_of(index).block
        stored = faiss.rev_swig_ptr(lists_of(index).get_codes(0), held)
        assert np.array_equal(layout.pack(list_codes(index, 0)), stored)
    assert np.array_equal(*found)


@pytest.mark.parametrize("rows", [32, 64, 160])
@pytest.mark.parametrize(("parts", "width"), [(1, 1), (4, 4), (3, 7)])
def test_what_is_packed_comes_back(rows, parts, width):
    layout = Layout(rows, parts, width)
    for n in (0, 1, rows - 1, rows, 3 * rows + 5):
        codes = np.random.default_rng(n).integers(0, 256, (n, width), dtype=np.uint8)
        packed = layout.pack(codes)
        assert len(packed) == -(-n // rows) * layout.block
        assert np.array_equal(layout.unpack(packed)[:n], codes)
        assert not layout.unpack(packed)[n:].any()
