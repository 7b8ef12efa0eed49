"""The public interface: what is there, that it is documented, and that imports stay quick."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import dqindex
from dqindex import DQModel, DQTransform, ProductCodebooks, build_index, errors, semantic_ids


def test_all_is_sorted_and_complete():
    assert dqindex.__all__ == sorted(dqindex.__all__)
    assert set(dqindex.__all__) == {*dqindex._HOME, "__version__", "errors"}
    assert dir(dqindex) == dqindex.__all__
    for name in dqindex.__all__:
        assert getattr(dqindex, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        _ = dqindex.nope


def test_import_is_quick():
    script = "import sys, dqindex; sys.exit(bool({'numpy', 'faiss', 'click'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize("name", sorted(dqindex._HOME))
def test_everything_public_is_documented(name):
    thing = getattr(dqindex, name)
    assert inspect.getdoc(thing)
    if inspect.isclass(thing):
        for member, function in vars(thing).items():
            if not member.startswith("_") and callable(function):
                assert inspect.getdoc(function), f"{name}.{member}"


def test_every_error_is_caught_by_the_base():
    kinds = [kind for kind in vars(errors).values() if inspect.isclass(kind)]
    for kind in kinds:
        assert inspect.getdoc(kind)
        assert issubclass(kind, dqindex.errors.DQIndexError | errors.DQWarning)


few = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
wild = np.concatenate([few, few * 1e6])


@pytest.mark.parametrize(
    "call",
    [
        lambda: DQModel(2, 16).fit(few),
        lambda: DQModel.rq(2, 16).fit(few),
        lambda: DQTransform(2).fit(few[:2]),
        lambda: DQTransform(2).fit_transform(few[:2]),
        lambda: ProductCodebooks(2, 16).fit(few),
        lambda: semantic_ids(few, n_subspaces=2, n_codewords=16),
        lambda: build_index(np.repeat(wild[:9], 40, axis=0), "SQ8"),
    ],
)
def test_a_warning_names_the_line_that_called(call):
    with pytest.warns(errors.DQWarning) as said:
        call()
    assert {Path(one.filename).name for one in said} == {Path(__file__).name}


def test_scikit_learn_is_not_imported():
    script = (
        "import sys, numpy as np, dqindex\n"
        "dqindex.DQModel(2, 4).fit(np.eye(8)[:, :4]); sys.exit('sklearn' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=False)
    assert done.returncode == 0
