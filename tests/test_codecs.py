"""Codecs that hold a range of numbers: refused, or warned of, before any work."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from conftest import clustered

from dqindex import build_index, open_vectors
from dqindex.errors import DQWarning, RangeError


@pytest.fixture(scope="module")
def x():
    return clustered(400, 8, seed=1)


@pytest.mark.parametrize("spec", ["SQfp16", "IVF4,SQfp16", "Flat,Refine(SQfp16)"])
@pytest.mark.parametrize("scale", [1e5, 1e-6])
def test_float16_refuses_what_it_lacks(x, spec, scale):
    with pytest.raises(RangeError, match=r"do not fit float16, which holds 0.001 to 65504"):
        build_index(x * np.float32(scale), spec)
    build_index(x, spec)
    build_index(x * np.float32(scale), spec, metric="cosine")


def test_float16_up_to_its_largest(x):
    largest = np.abs(x).max()
    build_index(x / largest * 65504, "SQfp16")
    with pytest.raises(RangeError, match="rescale the vectors, or use SQbf16"):
        build_index(x / largest * 65600, "SQfp16")


def test_codecs_of_integers(x):
    whole = np.clip(np.round(x * 20 + 100), 0, 255)
    found = build_index(whole, "SQ8_direct").search(whole[:5], 1)
    np.testing.assert_array_equal(found.positions[:, 0], range(5))
    for wrong in (whole + 300, whole - 300):
        with pytest.raises(RangeError, match="from 0 to 255"):
            build_index(wrong, "SQ8_direct")
    with pytest.raises(RangeError, match="use SQ8"):
        build_index(whole, "DQ4,SQ8_direct")


@pytest.mark.parametrize("spec", ["SQ8", "DQ4,IVF4,SQ4", "DQ4,PQ4x4,Refine(SQ8)"])
def test_an_outlier_that_takes_the_steps_is_told(x, spec):
    far = x.copy()
    far[7] *= 1e5
    with pytest.warns(DQWarning, match="even steps over the range of all values"):
        build_index(far, spec)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build_index(x, spec)
        build_index(far, "DQ4,PQ4x4" if "IVF" not in spec else "IVF4,Flat")


def test_queries_of_a_source_are_as_they_are_stored(x):
    index = build_index(x, "Flat", metric="cosine")
    found = index.search(open_vectors(x[:9].astype(np.float64) * 1e200), 1)
    np.testing.assert_array_equal(found.positions[:, 0], range(9))
