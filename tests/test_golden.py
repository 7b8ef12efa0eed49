"""Files of every format version ever released are read, and answer as they did (tests/golden)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dqindex import DQModel, open_index
from dqindex.index.folder import FORMAT_VERSION
from dqindex.quantizer.model_file import FORMAT_VERSION as MODEL_VERSION

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("version", range(1, MODEL_VERSION + 1))
def test_models(version):
    answers = np.load(GOLDEN / f"answers-v{version}.npz")
    model = DQModel.load(GOLDEN / f"model-v{version}.safetensors")
    np.testing.assert_array_equal(model.encode(answers["x"]), answers["codes"])


@pytest.mark.parametrize("version", range(1, FORMAT_VERSION + 1))
def test_indexes(version):
    answers = np.load(GOLDEN / f"answers-v{version}.npz")
    found = open_index(GOLDEN / f"index-v{version}").search(answers["x"][:5], 3)
    np.testing.assert_array_equal(found.ids.astype(str), answers["ids"])
    np.testing.assert_allclose(found.distances, answers["distances"], rtol=1e-4, atol=1e-5)
