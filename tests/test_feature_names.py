"""Names of columns: which are remembered, and what is said of others."""

from __future__ import annotations

import numpy as np
import pytest

from dqindex.errors import DQWarning, InputError
from dqindex.quantizer.feature_names import check_names, names_of


def names(*words: str) -> np.ndarray:
    return np.array(words, dtype=object)


def test_an_array_has_no_names():
    assert names_of(np.zeros((2, 2))) is None
    assert names_of([[1.0]]) is None


def test_a_frame_has_those_of_its_dimensions():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(np.zeros((3, 2), dtype=np.float32), columns=["b", "a"])
    assert names_of(frame).tolist() == ["b", "a"]
    frame.columns = [0, 1]
    assert names_of(frame) is None


def test_the_same_names_or_none_that_were_learned_are_taken():
    check_names(names("a", "b"), names("a", "b"), "X")
    check_names(names("a"), None, "X")
    check_names(None, None, "X")
    with pytest.warns(DQWarning, match="does not have valid feature names, but Y was fitted"):
        check_names(None, names("a"), "Y")


def test_names_in_another_order_are_refused():
    with pytest.raises(InputError) as refused:
        check_names(names("b", "a"), names("a", "b"), "Y")
    said = str(refused.value)
    assert said.startswith("Y: The feature names should match")
    assert "must be in the same order" in said
    assert "unseen" not in said
    assert "missing" not in said


@pytest.mark.parametrize("count", [5, 6])
def test_other_names_are_listed_up_to_five(count):
    new, old = (names(*(f"{kind}{number}" for number in range(count))) for kind in "no")
    with pytest.raises(InputError) as refused:
        check_names(new, old, "Y")
    lines = str(refused.value).splitlines()
    dots = ["- ..."] if count > 5 else []
    assert lines[1:] == [
        "Feature names unseen at fit time:",
        *(f"- n{number}" for number in range(5)),
        *dots,
        "Feature names seen at fit time, yet now missing:",
        *(f"- o{number}" for number in range(5)),
        *dots,
    ]


def test_only_what_is_wrong_is_said():
    with pytest.raises(InputError) as refused:
        check_names(names("a", "b", "c"), names("a", "b"), "Y")
    assert "- c" in str(refused.value)
    assert "missing" not in str(refused.value)
    assert "order" not in str(refused.value)
    with pytest.raises(InputError) as refused:
        check_names(names("a"), names("a", "b"), "Y")
    assert "- b" in str(refused.value)
    assert "unseen" not in str(refused.value)
