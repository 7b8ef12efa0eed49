"""An item's ID is its own, wherever it stands: equal vectors, equal codewords, other orders."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dqindex import DQModel, ProductCodebooks
from dqindex.quantizer.equals import distinct, first_equals
from dqindex.quantizer.transform import DQTransform
from dqindex.sids.semantic_ids import semantic_ids
from dqindex.sids.shared import row_distortion

# Behind coarse levels that leave nothing over but rounding, rounding decides.
FAMILIES: dict[str, dict[str, Any]] = {
    "dq": {"n_subspaces": 2, "n_codewords": 16},
    "dq, copies": {"n_subspaces": 2, "n_codewords": 64},
    "coarse": {"n_subspaces": 2, "n_codewords": 16, "coarse": (8,)},
}


@pytest.mark.filterwarnings("ignore::dqindex.errors.DQWarning")  # fewer vectors than codewords
@settings(max_examples=50, deadline=None)
@given(
    family=st.sampled_from(sorted(FAMILIES)),
    distinct_rows=st.sampled_from([20, 40, 100]),
    unique=st.sampled_from(["reassign", "suffix", "none"]),
    keep=st.sampled_from([None, 0]),
    seed=st.integers(0, 10**6),
)
def test_an_order_of_rows_gives_the_same_ids(family, distinct_rows, unique, keep, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(distinct_rows, 12)).astype(np.float32)
    x = x[rng.integers(0, distinct_rows, 150)]
    ids = np.array([f"item {one}" for one in range(150)])
    more = {"keep": keep} if unique == "reassign" else {}
    settings_ = {**FAMILIES[family], "unique": unique, **more}
    one = semantic_ids(x, ids, **settings_)
    order = rng.permutation(150)
    other = semantic_ids(x[order], ids[order], **settings_)
    np.testing.assert_array_equal(other.base_codes, one.base_codes[order])
    np.testing.assert_array_equal(other.codes, one.codes[order])
    # Equal vectors have equal base tokens.
    _, groups = np.unique(x, axis=0, return_inverse=True)
    pairs = np.column_stack([groups.ravel(), one.base_codes])
    assert len(np.unique(pairs, axis=0)) == len(np.unique(groups))


@pytest.mark.parametrize("d", [8, 9, 64])
@pytest.mark.parametrize("coarse", [(), (16,)])
def test_a_distortion_does_not_depend_on_the_place(d, coarse):
    rng = np.random.default_rng(d)
    x = (100 * rng.normal(size=d) + rng.normal(size=(400, d))).astype(np.float32)
    model = DQModel(4, 16, coarse=coarse).fit(x)
    codes = model.encode(x)
    whole = row_distortion(x, codes, model)
    error = (model.decode(codes).astype(np.float64) - x) ** 2
    energy = float((x.astype(np.float64) ** 2).sum(axis=1).max())
    np.testing.assert_allclose(whole, error.sum(axis=1), atol=4 * energy * 2.0**-22)
    for rows in ([7], [399, 7], np.arange(399, -1, -1), np.full(57, 7), np.arange(3, 400, 5)):
        np.testing.assert_array_equal(row_distortion(x[rows], codes[rows], model), whole[rows])
    turned = np.asfortranarray(x)
    np.testing.assert_array_equal(row_distortion(turned, codes, model), whole)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.booleans())
def test_the_first_of_those_that_are_equal(values, negative):
    book = np.array(values, dtype=np.float32)[:, None] * np.ones(3, dtype=np.float32)
    if negative:
        book[book == 0] *= -1  # -0 is 0
        book[0] = np.abs(book[0])
    firsts = first_equals(book)
    assert firsts.tolist() == [values.index(value) for value in values]
    kept, positions = distinct(book)
    assert len(kept) == len(set(values))
    if positions is None:
        assert len(set(values)) == len(values)
    else:
        np.testing.assert_array_equal(book[positions], kept)
        assert positions.tolist() == sorted(set(firsts.tolist()))


@pytest.mark.parametrize("beam", [1, 4])
@pytest.mark.parametrize("coarse", [0, 1, 2])
def test_no_token_names_a_copy(coarse, beam):
    """Every codebook holds each codeword three times, the copies in between."""
    rng = np.random.default_rng(coarse)
    x = rng.normal(size=(500, 8)).astype(np.float32)
    levels = [np.tile(rng.normal(size=(5, 8)), (3, 1)).astype(np.float32) for _ in range(coarse)]
    books = [np.tile(rng.normal(size=(4, 4)), (3, 1)).astype(np.float32) for _ in range(2)]
    transform = DQTransform(2).fit(x)
    codebooks = ProductCodebooks.from_codebooks(books)
    model = DQModel.from_parts(transform, codebooks, levels, beam=beam)
    codes = model.encode(x)
    assert (codes[:, :coarse] < 5).all()
    assert (codes[:, coarse:] < 4).all()
    small = DQModel.from_parts(
        transform,
        ProductCodebooks.from_codebooks([book[:4] for book in books]),
        [level[:5] for level in levels],
        beam=beam,
    )
    np.testing.assert_array_equal(codes, small.encode(x))
    assert (codebooks.encode(transform.transform(x)) < 4).all()
