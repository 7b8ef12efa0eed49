"""DQModel: the losses' identity, coarse levels, and a file that says when it is damaged."""

from __future__ import annotations

import json
import os
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from dqindex import DQModel
from dqindex.errors import (
    DQWarning,
    FileFormatError,
    InputError,
    IntegrityError,
    NonFiniteError,
    RangeError,
    StorageError,
)
from dqindex.quantizer.kmeans import train_kmeans
from dqindex.quantizer.model_file import FORMAT
from dqindex.quantizer.nearest import nearest
from dqindex.storage.tensors import save_tensors


@pytest.fixture(scope="module")
def model(vectors):
    return DQModel(4, 32).fit(vectors)


def test_losses_are_equal_at_full_rank(model, vectors):
    losses = model.losses(vectors)
    np.testing.assert_allclose(losses.reconstruction, losses.codebook, rtol=1e-10)
    assert losses.dropped.max() < 1e-10 * losses.reconstruction.mean()
    direct = ((model.decode(model.encode(vectors)) - vectors.astype(np.float64)) ** 2).sum(axis=1)
    np.testing.assert_allclose(losses.reconstruction, direct, rtol=1e-3)


def test_losses_differ_by_the_dropped_energy(vectors):
    losses = DQModel(4, 32, n_components=8).fit(vectors).losses(vectors)
    assert losses.dropped.mean() > 0.01 * losses.reconstruction.mean()
    np.testing.assert_allclose(losses.reconstruction, losses.codebook + losses.dropped, rtol=1e-9)


@pytest.mark.parametrize("coarse", [(16,), (16, 8)])
def test_coarse_levels_lower_the_distortion(vectors, coarse, model):
    deep = DQModel(4, 32, coarse=coarse).fit(vectors)
    codes = deep.encode(vectors)
    assert codes.shape == (4000, len(coarse) + 4)
    assert deep.code_sizes() == [*coarse, 32, 32, 32, 32]
    assert (codes.max(axis=0) < deep.code_sizes()).all()
    losses = deep.losses(vectors)
    assert losses.reconstruction.mean() < model.losses(vectors).reconstruction.mean()
    back = deep.decode(codes)
    np.testing.assert_allclose(
        ((back - vectors) ** 2).sum(axis=1), losses.reconstruction, rtol=1e-3, atol=1e-5
    )


def test_fit_reads_paths_and_arrays_alike(tmp_path, vectors, model):
    np.save(tmp_path / "v.npy", vectors)
    assert DQModel(4, 32).fit(tmp_path / "v.npy").fingerprint == model.fingerprint


@pytest.mark.parametrize(
    "settings", [{}, {"n_codewords": [3, 100, 7, 300]}, {"coarse": (8, 4), "center": False}]
)
def test_saved_and_loaded(tmp_path, vectors, settings):
    made = DQModel(**{"n_subspaces": 4, "n_codewords": 16, **settings}).fit(vectors)
    made.save(tmp_path / "m.safetensors")
    loaded = DQModel.load(tmp_path / "m.safetensors")
    assert loaded.fingerprint == made.fingerprint
    assert loaded.get_params() == made.get_params()
    np.testing.assert_array_equal(loaded.encode(vectors), made.encode(vectors))
    np.testing.assert_array_equal(
        loaded.decode(made.encode(vectors)), made.decode(made.encode(vectors))
    )
    made.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (
        tmp_path / "m.safetensors"
    ).read_bytes()


def test_every_damaged_byte_of_the_tensors_is_noticed(tmp_path, model):
    path = tmp_path / "m.safetensors"
    model.save(path)
    whole = path.read_bytes()
    (header,) = struct.unpack("<Q", whole[:8])
    rng = np.random.default_rng(0)
    for place in rng.integers(8 + header, len(whole), size=20):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(IntegrityError, match="do not match their checksum"):
            DQModel.load(path)


def test_hostile_files(tmp_path, model):
    path = tmp_path / "m.safetensors"
    model.save(path)
    whole = path.read_bytes()
    hostile = {
        "empty": b"",
        "half": whole[: len(whole) // 2],
        "one byte short": whole[:-1],
        "huge header": struct.pack("<Q", 2**62) + whole[8:],
        "not safetensors": b"PK\x03\x04" + b"\0" * 100,
    }
    for data in hostile.values():
        path.write_bytes(data)
        with pytest.raises(FileFormatError, match="not a readable"):
            DQModel.load(path)
    with pytest.raises(StorageError, match="no such file"):
        DQModel.load(tmp_path / "none")
    for form, message in (
        (FORMAT._replace(name="other"), "not a dqindex model"),
        (FORMAT._replace(version=99), "model format 99, this dqindex reads 2; upgrade"),
        (FORMAT, "settings is missing"),
    ):
        save_tensors(path, {"x": np.zeros(3)}, {}, form)
        with pytest.raises(FileFormatError, match=message):
            DQModel.load(path)


def test_every_damaged_byte_of_the_header_is_noticed(tmp_path, model, vectors):
    path = tmp_path / "m.safetensors"
    model.save(path)
    whole = path.read_bytes()
    (header,) = struct.unpack("<Q", whole[:8])
    for place in range(0, 8 + header, 3):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises((FileFormatError, IntegrityError)):
            DQModel.load(path)


@pytest.mark.parametrize(
    "change",
    [
        {"coarse": []},
        {"coarse": [3, 3]},
        {"coarse": [4]},
        {"n_subspaces": 1},
        {"n_subspaces": 10**9},
        {"n_codewords": 5},
        {"n_codewords": [4, 7]},
        {"n_codewords": [4, 6, 2]},
        {"balance": "other"},
        {"beyond": 1},
    ],
)
def test_settings_of_version_1_are_held_against_its_tensors(tmp_path, change):
    """Its checksum does not cover them."""
    golden = Path(__file__).parent / "golden" / "model-v1.safetensors"
    with safe_open(golden, framework="numpy") as file:
        record = json.loads(file.metadata()["dqindex"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    path = tmp_path / "m.safetensors"
    save_file(tensors, path, {"dqindex": json.dumps(record)})
    assert DQModel.load(path).coarse == (3,)
    record["settings"] |= change
    save_file(tensors, path, {"dqindex": json.dumps(record)})
    with pytest.raises(FileFormatError, match=r"m\.safetensors: "):
        DQModel.load(path)
    del record["settings"][next(iter(change))]
    save_file(tensors, path, {"dqindex": json.dumps(record)})
    if "beyond" not in change:
        with pytest.raises(FileFormatError, match=f"its setting {next(iter(change))} is missing"):
            DQModel.load(path)


def test_a_model_is_saved_with_the_settings_that_it_was_fitted_with(tmp_path, vectors):
    made = DQModel(np.int64(4), np.array([4, 5, 6, 7]), coarse=(np.int64(3),)).fit(vectors)
    codes = made.encode(vectors)
    made.set_params(n_subspaces=2, n_codewords=300, coarse=())
    made.save(tmp_path / "m.safetensors")
    loaded = DQModel.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(loaded.encode(vectors), codes)
    assert (loaded.n_codewords, loaded.coarse) == ([4, 5, 6, 7], (3,))


def test_a_failed_save_leaves_the_old_file(tmp_path, model, monkeypatch):
    path = tmp_path / "m.safetensors"
    model.save(path)
    before = path.read_bytes()

    def refuse(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StorageError, match=r"No space left on device.*free some space"):
        model.save(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["m.safetensors"]


def test_unwritable_places(tmp_path, model):
    with pytest.raises(StorageError, match="make the folder first"):
        model.save(tmp_path / "none" / "m.safetensors")
    with pytest.raises(StorageError, match="is a folder"):
        model.save(tmp_path)


def test_bad_input(vectors, model):
    with pytest.raises(NonFiniteError):
        DQModel(2, 4).fit(np.full((10, 4), np.inf))
    with pytest.raises(InputError, match="expecting 24"):
        model.encode(vectors[:, :2])
    with pytest.raises(InputError, match=r"give integers of shape \(n, 4\)"):
        model.decode(np.zeros((2, 5), dtype=int))
    coarse = DQModel(2, 4, coarse=(3,)).fit(vectors)
    with pytest.raises(InputError, match="code 3 in row 0, column 0; codes there are from 0 to 2"):
        coarse.decode([[3, 0, 0]])


def test_more_subspaces_than_axes():
    x = np.random.default_rng(0).normal(size=(500, 3)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DQWarning)
        made = DQModel(8, 4).fit(x)
    np.testing.assert_allclose(made.losses(x).reconstruction, made.losses(x).codebook, rtol=1e-9)


def test_metadata_says_what_made_it(tmp_path, model):
    model.save(tmp_path / "m.safetensors")
    with safe_open(tmp_path / "m.safetensors", framework="numpy") as file:
        record = json.loads(file.metadata()["dqindex"])
        assert set(file.keys()) >= {"mean", "components", "groups", "variances", "codebook.3"}
    assert record["settings"]["n_subspaces"] == 4
    assert set(record["versions"]) == {"dqindex", "faiss", "numpy"}
    assert len(record["sha256"]) == 64


@pytest.mark.parametrize("coarse", [(), (8,)])
@pytest.mark.parametrize("n_components", [None, 10])
def test_blocks_are_encoded_as_the_whole_is(vectors, coarse, n_components):
    model = DQModel(4, 16, coarse=coarse, n_components=n_components).fit(vectors)
    blocks = [vectors[:1], vectors[1:2500], vectors[2500:]]
    parts = list(model.encode_blocks(iter(blocks), distortion=True))
    codes = np.concatenate([one for one, _ in parts])
    distortion = np.concatenate([one for _, one in parts])
    np.testing.assert_array_equal(codes, model.encode(vectors))
    error = model.decode(codes).astype(np.float64) - vectors
    np.testing.assert_allclose(distortion, (error**2).sum(axis=1), rtol=1e-4, atol=1e-5)
    assert all(error is None for _, error in model.encode_blocks(blocks))
    with pytest.raises(InputError, match="X has 3 features, but DQModel is expecting 24"):
        list(model.encode_blocks([vectors[:, :3]]))


def test_progress_counts_every_token(vectors):
    told = []
    DQModel(3, 4, coarse=(5, 6), n_iter=1).fit(vectors, progress=lambda *step: told.append(step))
    assert told == [("train codebooks", done, 5) for done in (1, 2, 3, 4, 5)]


def test_the_sample_is_enough_for_every_part():
    model = DQModel(2, [300, 10], coarse=(7, 400), max_points_per_codeword=3)
    assert model.training_rows(8) == 1200
    assert model.training_rows(50) == 5000
    assert model.codebook_sizes() == [300, 10]


def test_coarse_levels_have_seeds_and_rounds_of_their_own(vectors):
    model = DQModel(2, 4, coarse=(6, 5), seed=2, n_iter=3, n_redo=2, init="random")
    left = vectors[:2000]
    model.fit(left)
    for level, size in enumerate((6, 5)):
        expected, _ = train_kmeans(
            left, size, n_iter=3, n_redo=2, init="random", seed=2 + 1000 + level
        )
        np.testing.assert_array_equal(model.coarse_[level], expected)
        left = left - expected[nearest(left, expected)[0]]


def test_settings_of_parts_are_checked(vectors):
    parts = DQModel(2, 4, coarse=(3,)).fit(vectors)
    made = DQModel.from_parts(parts.transform_, parts.codebooks_, parts.coarse_, beam=4)
    assert made.beam == 4
    for settings, message in (({"beam": 0}, "beam is 0"), ({"nope": 1}, "no parameter 'nope'")):
        with pytest.raises(InputError, match=message):
            DQModel.from_parts(parts.transform_, parts.codebooks_, parts.coarse_, **settings)
    with pytest.raises(InputError, match="expecting 24"):
        DQModel.from_parts(parts.transform_, parts.codebooks_, [np.zeros((3, 5), np.float32)])
    for blocks in ("text", [vectors[0]], [vectors.astype(int)]):
        with pytest.raises(InputError, match=r"blocks? is"):
            list(parts.encode_blocks(blocks))


def test_refused_before_anything_is_learned(vectors):
    model = DQModel(2, 4)
    for wrong in (vectors * np.float32(1e15), vectors * np.float32(1e-25)):
        with pytest.raises(RangeError):
            model.fit(wrong)
    assert not hasattr(model, "transform_")
    model.fit(vectors)
    with pytest.raises(RangeError, match="DQModel: 4000 of 4000 rows"):
        model.encode(vectors * np.float32(1e15))
