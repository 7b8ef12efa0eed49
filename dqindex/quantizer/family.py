"""The family of models by the names that users look for: DQ, RQ, and what lies between.

A model is some residual (coarse) levels, and a DQ of what they leave over. Without levels it is
the method of arXiv 2508.11194; with one subspace, which is the whole space, it is residual
quantisation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dqindex._parameters import checked, codewords, dimensions, integer, integers, one_of, or_none
from dqindex.errors import InputError
from dqindex.quantizer.model import DQModel

METHODS = ("dq", "rq")
# Where tokens depend on each other: rounds of joint training, and prefixes kept in encoding.
# Measured (benchmarks/sids.py): more gain less than 1 % of the distortion.
POLISH_ROUNDS = 6
BEAM = 8


@checked(
    method=one_of(*METHODS),
    n_subspaces=dimensions(),
    coarse=integers(codewords()),
    polish=or_none(integer(0)),
    beam=or_none(integer(1)),
)
def new_model(
    method: str,
    n_subspaces: int,
    n_codewords: int | list[int] = 256,
    *,
    coarse: Sequence[int] = (),
    polish: int | None = None,
    beam: int | None = None,
    **settings: Any,
) -> DQModel:
    """An unfitted model.

    Parameters
    ----------
    method : {"dq", "rq"}
        ``dq``: tokens that do not depend on each other, behind those of `coarse`. ``rq``: each
        token codes what those before leave over.
    n_subspaces : int
        Of ``dq``, beside those of `coarse`; or of ``rq``, in all.
    n_codewords : int or list of n_subspaces ints
    coarse : sequence of ints
        Sizes of residual levels in front of ``dq``.
    polish : int, optional
        Rounds of joint training, at most; by default 6 where there are residual levels and no
        `max_share`, else none.
    beam : int, optional
        Prefixes that encoding keeps; by default 8 where there are residual levels
        and no `max_share`.
    **settings
        Other parameters of `DQModel`.

    Raises
    ------
    InputError
        If a parameter is not usable, or `coarse` is given to ``rq``.
    """
    if method == "rq" and len(coarse):
        raise InputError(
            f"coarse is {tuple(coarse)!r}, but all tokens of method 'rq' are residual ones; leave "
            "it out, or use method 'dq'"
        )
    residual = len(coarse) > 0 or (method == "rq" and n_subspaces > 1)
    # Both would change how many vectors a codeword has.
    together = residual and settings.get("max_share") is None
    settings["polish"] = (POLISH_ROUNDS if together else 0) if polish is None else polish
    settings["beam"] = (BEAM if together else 1) if beam is None else beam
    if method == "rq":
        return DQModel.rq(n_subspaces, n_codewords, **settings)
    return DQModel(n_subspaces, n_codewords, coarse=tuple(coarse), **settings)
