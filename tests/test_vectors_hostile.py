"""Files made to mislead: they name other files, or claim what they do not hold."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from dqindex.errors import FileFormatError, InputError, NonFiniteError, RangeError
from dqindex.vectors import open_vectors

X = np.arange(80, dtype=np.float32).reshape(20, 4)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """Bytes that are none of the reader's business."""
    path = tmp_path / "secret.bin"
    path.write_bytes(X.tobytes())
    return path


def test_external_storage_is_refused(tmp_path, secret):
    with h5py.File(tmp_path / "v.hdf5", "w") as file:
        file.create_dataset("train", X.shape, "f4", external=[(str(secret), 0, X.nbytes)])
    with h5py.File(tmp_path / "v.hdf5") as file:
        np.testing.assert_array_equal(file["train"][:], X)  # HDF5 itself would read it
    with pytest.raises(InputError, match="values lie in other files"):
        open_vectors(tmp_path / "v.hdf5")


def test_virtual_sources_are_refused(tmp_path):
    with h5py.File(tmp_path / "other.hdf5", "w") as file:
        file["train"] = X
    layout = h5py.VirtualLayout(X.shape, "f4")
    layout[:] = h5py.VirtualSource(tmp_path / "other.hdf5", "train", X.shape)
    with h5py.File(tmp_path / "v.hdf5", "w") as file:
        file.create_virtual_dataset("train", layout)
    with pytest.raises(InputError, match=r"values lie in other files \(virtual"):
        open_vectors(tmp_path / "v.hdf5")


@pytest.mark.parametrize("name", ["train", "group/train", "link/train", "soft", "link/group/train"])
def test_external_links_are_refused(tmp_path, name):
    with h5py.File(tmp_path / "other.hdf5", "w") as file:
        file["train"] = X
        file["group/train"] = X
    with h5py.File(tmp_path / "v.hdf5", "w") as file:
        file["train"] = h5py.ExternalLink(tmp_path / "other.hdf5", "train")
        file["link"] = h5py.ExternalLink(tmp_path / "other.hdf5", "/")
        file["group/train"] = h5py.ExternalLink(tmp_path / "other.hdf5", "train")
        file["soft"] = h5py.SoftLink("/train")
    with pytest.raises(InputError, match=r"is a link to another file|is a soft link"):
        open_vectors(f"{tmp_path / 'v.hdf5'}:{name}")


def test_groups_within_the_file_are_followed(tmp_path):
    with h5py.File(tmp_path / "v.hdf5", "w") as file:
        file["a/b/train"] = X
    np.testing.assert_array_equal(open_vectors(f"{tmp_path / 'v.hdf5'}:a/b/train").read(), X)
    for name in ("a", "a/b", "a/train", "a/b/train/x", ".", "a/../a"):
        with pytest.raises(InputError, match="no data set"):
            open_vectors(f"{tmp_path / 'v.hdf5'}:{name}")


@pytest.mark.parametrize(
    "options",
    [
        {"shape": (10**9, 96), "chunks": (1000, 96)},
        {"shape": (10**9, 96), "chunks": (1000, 96), "compression": "gzip"},
        {"shape": (10**12, 96), "chunks": (1, 96)},
        {"shape": (20, 4)},
        {"shape": (30, 4), "chunks": (10, 4), "maxshape": (None, 4)},
    ],
)
def test_rows_that_were_never_written(tmp_path, options):
    """HDF5 gives zeros for them, however many are claimed."""
    with h5py.File(tmp_path / "v.hdf5", "w") as file:
        made = file.create_dataset("train", dtype="f4", **options)
        if options["shape"][0] == 30:
            made[:20] = X
    assert (tmp_path / "v.hdf5").stat().st_size < 20_000
    with pytest.raises(FileFormatError, match="never written"):
        open_vectors(tmp_path / "v.hdf5")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"chunks": (7, 3)},
        {"chunks": (7, 3), "compression": "gzip", "shuffle": True},
        {"chunks": (20, 4), "fletcher32": True},
        {"chunks": (1, 1)},
    ],
)
def test_rows_that_were_written(tmp_path, options):
    with h5py.File(tmp_path / "v.hdf5", "w") as file:
        file.create_dataset("train", data=X, **options)
    np.testing.assert_array_equal(open_vectors(tmp_path / "v.hdf5").read(), X)


def test_compact_storage(tmp_path):
    with h5py.File(tmp_path / "v.hdf5", "w") as file:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple(X.shape)
        made = h5py.h5d.create(file.id, b"train", h5py.h5t.NATIVE_FLOAT, space, dcpl=plist)
        made.write(h5py.h5s.ALL, h5py.h5s.ALL, X)
    np.testing.assert_array_equal(open_vectors(tmp_path / "v.hdf5").read(), X)


def test_chunks_too_large_to_read(tmp_path):
    """A chunk is read whole: one of 4 GiB of zeros is a few megabytes of gzip."""
    with h5py.File(tmp_path / "v.hdf5", "w") as file:
        file.create_dataset("train", (2**19, 2**10), "f4", chunks=(2**19, 2**10 - 1))
    with pytest.raises(FileFormatError, match=r"chunks of .* are larger than"):
        open_vectors(tmp_path / "v.hdf5")


def test_hdf5_of_other_shapes_and_types(tmp_path):
    with h5py.File(tmp_path / "v.hdf5", "w") as file:
        file["one"], file["three"], file["text"] = X[0], X[None], np.array([[b"a"]])
        file["empty"] = h5py.Empty("f4")
        file.create_group("group")
    for name, message in {
        "one": "2-d",
        "three": "2-d",
        "empty": "2-d",
        "text": "dtype",
        "group": "no data set 'group'; it has empty, group, one, text, three",
    }.items():
        with pytest.raises((InputError, FileFormatError), match=message):
            open_vectors(f"{tmp_path / 'v.hdf5'}:{name}")


def test_float64_beyond_float32_is_said_to_be_that(tmp_path):
    x = X.astype(np.float64)
    x[7, 2] = -1e39
    np.save(tmp_path / "v.npy", x)
    source = open_vectors(tmp_path / "v.npy")
    for read in (source.read, source.check, lambda: source.rows([1, 7])):
        with pytest.raises(
            NonFiniteError,
            match=r"row 7, where dimension 2 is -1e\+39, beyond the range of float32 \(±3\.4e\+38",
        ):
            read()
    x[7, 2] = np.nan
    np.save(tmp_path / "v.npy", x)
    with pytest.raises(NonFiniteError, match="first row 7, where dimension 2 is nan; remove"):
        open_vectors(tmp_path / "v.npy").read()
    x[7, 2] = np.finfo(np.float32).max
    np.save(tmp_path / "v.npy", x)
    with pytest.raises(RangeError, match="norm above"):  # float32 has it, but not its square
        open_vectors(tmp_path / "v.npy").read()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda source: source.blocks(0), "rows is 0; it must be an integer of at least 1"),
        (lambda source: source.blocks(2.5), "rows is 2.5"),
        (lambda source: source.check(-1), "rows is -1"),
        (lambda source: source.check(progress=3), "progress is 3"),
        (lambda source: source.sample(0), "k is 0"),
        (lambda source: source.sample("3"), "k is '3'"),
        (lambda source: source.sample(3, seed=-1), "seed is -1"),
        (lambda source: source.rows([0.5]), "positions are float64; give integers"),
        (lambda source: source.rows([True]), "positions are bool"),
        (lambda source: source.rows(["a"]), "positions are"),
        (lambda source: source.rows([20]), "row 20 is outside 0 to 19"),
        (lambda source: source.rows([-1]), "row -1 is outside 0 to 19"),
        (lambda source: source.rows(np.array([2**64 - 1], dtype="u8")), "outside 0 to 19"),
    ],
)
def test_wrong_parameters_of_a_source(call, message):
    with pytest.raises(InputError, match=message):
        call(open_vectors(X))


def test_right_parameters_of_a_source():
    source = open_vectors(X)
    assert [len(block) for block in source.blocks(np.int64(15))] == [15, 5]
    assert source.rows([]).shape == (0, 4)
    assert source.rows(19).shape == (1, 4)
    assert source.sample(1).shape == (1, 4)
