"""An orthonormal map as FAISS has it: ``faiss.LinearTransform``."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dqindex._types import Float64
from dqindex.errors import InputError

if TYPE_CHECKING:
    import faiss


class Linear(NamedTuple):
    """The map ``(z - mean) @ components.T``.

    Attributes
    ----------
    components : (d_out, d) float64
        Orthonormal rows, but for zero rows, which are padding.
    mean : (d,) float64, or None
        None for a map that subtracts none.
    """

    components: Float64
    mean: Float64 | None


def to_faiss(linear: Linear) -> faiss.LinearTransform:
    """The map in float32, the mean folded into its bias."""
    import faiss

    d_out, d = linear.components.shape
    made = faiss.LinearTransform(d, d_out, linear.mean is not None)
    faiss.copy_array_to_vector(linear.components.astype(np.float32).ravel(), made.A)
    if linear.mean is not None:
        bias = -(linear.components @ linear.mean)
        faiss.copy_array_to_vector(bias.astype(np.float32), made.b)
    made.is_trained = True
    made.set_is_orthonormal()
    return made


def from_faiss(linear: faiss.LinearTransform) -> Linear:
    """Read it back; the mean comes without its part in directions that are dropped.

    Raises
    ------
    InputError
        If the rows are not orthonormal.
    """
    import faiss

    components = faiss.vector_to_array(linear.A).reshape(linear.d_out, linear.d_in)
    components = components.astype(np.float64)
    real = components.any(axis=1)
    gram = components[real] @ components[real].T
    if not np.allclose(gram, np.eye(len(gram)), atol=1e-4):
        raise InputError("the rows of this faiss.LinearTransform are not orthonormal")
    if not linear.have_bias:
        return Linear(components, None)
    return Linear(components, -(faiss.vector_to_array(linear.b).astype(np.float64) @ components))
