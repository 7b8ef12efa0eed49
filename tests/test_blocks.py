"""Blocks of unequal scale side by side: a model of them is one of vectors that are scaled first."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import clustered
from hypothesis import given, settings
from hypothesis import strategies as st

from dqindex import DQModel, semantic_ids
from dqindex.cli import cli
from dqindex.errors import DQWarning, FileFormatError, InputError
from dqindex.quantizer.blocks import learn_scale
from dqindex.quantizer.model_file import pack
from dqindex.quantizer.parts import Parts

SMALL = {"n_subspaces": 2, "n_codewords": 8, "n_iter": 4}


def blocks(n: int, seed: int = 0) -> np.ndarray:
    """Two blocks of 4 and 2 columns; the second has numbers a hundred times as large."""
    x: np.ndarray = np.concatenate(
        [clustered(n, 4, seed=seed), 100 * clustered(n, 2, seed=seed + 1)], axis=1
    )
    return x


@settings(max_examples=20, deadline=None)
@given(
    coarse=st.sampled_from([(), (6,), (4, 4)]),
    polish=st.integers(0, 2),
    n_components=st.sampled_from([None, 4]),
    powers=st.lists(st.integers(-9, 3), min_size=2, max_size=2),
    seed=st.integers(0, 1000),
)
def test_a_model_of_blocks_is_one_of_scaled_vectors(coarse, polish, n_components, powers, seed):
    """To the last bit, with powers of two: tokens, distortions, IDs, and over a map's life."""
    x, ids = blocks(300, seed), np.arange(300)
    factors = [2.0**power for power in powers]
    by = np.repeat(np.float32(factors), [4, 2])
    shape = {**SMALL, "coarse": coarse, "polish": polish, "n_components": n_components, "beam": 3}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DQWarning)
        model = DQModel(**shape, block_widths=[4, 2], block_scale=factors).fit(x)
        plain = DQModel(**shape).fit(x * by)
        np.testing.assert_array_equal(model.encode(x), plain.encode(x * by))
        codes = plain.encode(x * by)
        np.testing.assert_array_equal(model.decode(codes) * by, plain.decode(codes))
        for one, other in zip(model.losses(x), plain.losses(x * by), strict=True):
            np.testing.assert_allclose(one, other)
        assert model.fingerprint != plain.fingerprint
        cap = {"unique": "cap", "cap": 20}
        ours = semantic_ids(x[:200], ids[:200], model=model, **cap)
        theirs = semantic_ids(x[:200] * by, ids[:200], model=plain, **cap)

        def same():
            np.testing.assert_array_equal(ours.codes, theirs.codes)
            np.testing.assert_array_equal(ours.base_codes, theirs.base_codes)
            np.testing.assert_allclose(ours.distortion, theirs.distortion, rtol=1e-4, atol=1e-6)

        same()
        ours, _ = ours.append(x[200:], ids[200:])
        theirs, _ = theirs.append(x[200:] * by, ids[200:])
        same()
        now = x[::-1] + by**-1
        for worth in (0.0, 0.3):
            ours = ours.refit(now, ids, worth=worth).sids
            theirs = theirs.refit(now * by, ids, worth=worth).sids
            same()


def test_equal_blocks_have_the_same_variance():
    x = blocks(500)
    x = np.concatenate([x, np.full((500, 3), 7, dtype=np.float32)], axis=1)
    scale = np.asarray(learn_scale(x, [4, 2, 3], "equal"))
    variances = (x * scale).var(axis=0)
    assert variances[:4].sum() == pytest.approx(variances[4:6].sum(), rel=1e-4)
    assert variances.sum() == pytest.approx(x.var(axis=0).sum(), rel=1e-4)
    np.testing.assert_array_equal(scale[6:], 1)
    assert len(set(scale[:4].tolist())) == 1
    assert learn_scale(x, (), "equal") is None


def test_a_small_block_is_coded_as_well():
    """Without the scale the small block is noise to the model; with it both are kept alike."""
    x = blocks(2000)

    def lost(model, columns):
        error = model.decode(model.encode(x))[:, columns] - x[:, columns]
        return (error**2).sum() / x[:, columns].var(axis=0).sum() / len(x)

    small = slice(0, 4)
    plain = DQModel.rq(2, 32).fit(x)
    equal = DQModel.rq(2, 32, block_widths=(4, 2)).fit(x)
    assert lost(plain, small) > 0.7
    assert lost(equal, small) < 0.4


def test_one_block_that_drowns_the_others_is_told_of():
    x = blocks(400)
    with pytest.warns(
        DQWarning, match=r"block 2 of 2 \(columns 4 to 5\) holds 99\.9\d% of the var"
    ):
        DQModel(**SMALL, block_widths=[4, 2], block_scale=[1, 1]).fit(x)
    variances = [float(part.var(axis=0).sum()) for part in (x[:, :4], x[:, 4:])]
    for share, told in ((0.955, True), (0.945, False)):
        factor = np.sqrt(variances[0] * share / (1 - share) / variances[1])
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            learn_scale(x, [4, 2], [1, factor])
        assert len(found) == told
    # One block has all of it, which is no news; equal ones never do.
    learn_scale(x, [6], "equal")
    learn_scale(x, [4, 2], "equal")


def test_the_file_keeps_the_scale(tmp_path):
    x = blocks(300)
    model = DQModel(**SMALL, block_widths=(4, 2)).fit(x)
    model.save(tmp_path / "m.safetensors")
    read = DQModel.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(read.scale_, model.scale_)
    np.testing.assert_array_equal(read.encode(x), model.encode(x))
    assert read.fingerprint == model.fingerprint
    assert read.get_params() == model.get_params()
    # A model without blocks has a file without a word of them.
    plain = DQModel(**SMALL).fit(x)
    assert plain.scale_ is None
    assert b"block" not in plain.to_bytes()
    other = DQModel(**SMALL, block_widths=(4, 2))
    other._take(Parts(*plain._parts()[:3], np.asarray(model.scale_) * 2))
    assert other.fingerprint != plain.fingerprint
    for wrong in (0.0, -1.0, np.nan, np.inf):
        scale = np.array(model.scale_)
        scale[3] = wrong
        data = pack(model.get_params(), model._parts()._replace(scale=scale))
        with pytest.raises(FileFormatError, match="scale holds a value that is not a factor"):
            DQModel.from_bytes(data, "m")
    unsaid = pack({**model.get_params(), "block_widths": []}, model._parts())
    with pytest.raises(FileFormatError, match="its settings are not those of its tensors"):
        DQModel.from_bytes(unsaid, "m")


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"block_widths": [4, 3]}, r"4 \+ 3 = 7, but the vectors are 6 wide"),
        ({"block_widths": [4, 2], "block_scale": [1]}, "1 factors for 2 blocks"),
        ({"block_scale": [1, 2]}, "but block_widths is empty"),
        ({"block_widths": [6, 0]}, "block_widths is .* a list of integers from 1 "),
        ({"block_widths": [4, 2], "block_scale": [1, 0]}, "block_scale is .* more than 0"),
        ({"block_widths": [4, 2], "block_scale": "same"}, "block_scale is 'same'"),
        ({"block_widths": [4, 2], "block_scale": [1, float("nan")]}, "block_scale is"),
    ],
)
def test_what_are_no_blocks(given_, message):
    with pytest.raises(InputError, match=message):
        DQModel(**SMALL, **given_).fit(blocks(100))
    with pytest.raises(InputError, match=message):
        semantic_ids(blocks(100), n_subspaces=2, n_codewords=16, **given_)


def test_parts_of_elsewhere_come_with_factors():
    x = blocks(300)
    model = DQModel(**SMALL, block_widths=(4, 2), block_scale=[1, 0.01]).fit(x)
    parts = model.transform_, model.codebooks_
    made = DQModel.from_parts(*parts, block_widths=(4, 2), block_scale=[1, 0.01])
    np.testing.assert_array_equal(made.encode(x), model.encode(x))
    with pytest.raises(InputError, match="is learned by fit; give the factors"):
        DQModel.from_parts(*parts, block_widths=(4, 2))


def test_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(words):
        return CliRunner().invoke(cli, words.split(), catch_exceptions=False)

    x = blocks(300)
    np.save("v.npy", x)
    told = json.loads(
        call("sids extract v.npy -o s.parquet -L 2 -K 32 --block-widths 4,2 --json").stdout
    )
    expected = semantic_ids(x, n_subspaces=2, n_codewords=32, block_widths=(4, 2))
    assert told["fingerprint"] == expected.fingerprint
    assert (
        call(
            "fit v.npy -o m.safetensors -L 2 -K 8 --block-widths 4,2 --block-scale 1,.01"
        ).exit_code
        == 0
    )
    model = DQModel.load("m.safetensors")
    assert model.scale_.tolist() == [1, 1, 1, 1, 0.01, 0.01]
    assert call("encode m.safetensors v.npy -o c.npy").exit_code == 0
    np.testing.assert_array_equal(np.load("c.npy"), model.encode(x))
    assert call("fit v.npy -o m.safetensors --block-widths 4,2 --block-scale x").exit_code == 2
