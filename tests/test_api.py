"""The public interface: what is there, that it is documented, and that imports stay quick."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import dqindex
from dqindex import errors


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


def test_scikit_learn_is_not_imported():
    script = (
        "import sys, numpy as np, dqindex\n"
        "dqindex.DQModel(2, 4).fit(np.eye(8)[:, :4]); sys.exit('sklearn' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=False)
    assert done.returncode == 0
