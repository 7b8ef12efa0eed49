"""The settings of a model, and what follows from them before anything is learned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, TypeVar

from dqindex._parameters import check, codewords, dimensions, integer, integers
from dqindex.errors import InputError
from dqindex.quantizer.blocks import EQUAL, check_widths, scale_rule
from dqindex.quantizer.codebooks import ProductCodebooks
from dqindex.quantizer.estimator import Estimator
from dqindex.quantizer.shares import check_share
from dqindex.quantizer.transform import DQTransform

Part = TypeVar("Part", DQTransform, ProductCodebooks)


# Joint training looks at no fewer prefixes than this, whatever the beam of encoding.
LEAST_BEAM = 8


class ModelSettings(Estimator):
    """The parameters of `dqindex.quantizer.model.DQModel`, which tells of them."""

    _parameters: ClassVar = {
        **DQTransform._parameters,
        **ProductCodebooks._parameters,
        "coarse": integers(codewords()),
        "polish": integer(0),
        "beam": integer(1),
        "block_widths": integers(dimensions()),
        "block_scale": scale_rule(),
    }

    def __init__(
        self,
        n_subspaces: int = 8,
        n_codewords: int | list[int] = 256,
        *,
        coarse: Sequence[int] = (),
        polish: int = 0,
        beam: int = 1,
        n_components: int | None = None,
        balance: str = "variance",
        center: bool = True,
        seed: int = 0,
        n_iter: int = 16,
        n_redo: int = 1,
        init: str = "k-means++",
        max_points_per_codeword: int = 256,
        max_share: float | None = None,
        block_widths: Sequence[int] = (),
        block_scale: str | Sequence[float] = EQUAL,
    ) -> None:
        self.n_subspaces = n_subspaces
        self.n_codewords = n_codewords
        self.coarse = coarse
        self.polish = polish
        self.beam = beam
        self.n_components = n_components
        self.balance = balance
        self.center = center
        self.seed = seed
        self.n_iter = n_iter
        self.n_redo = n_redo
        self.init = init
        self.max_points_per_codeword = max_points_per_codeword
        self.max_share = max_share
        self.block_widths = block_widths
        self.block_scale = block_scale

    def _part(self, kind: type[Part]) -> Part:
        """An unfitted part with this model's settings."""
        return kind(**{name: getattr(self, name) for name in kind.parameter_names()})

    def codebook_sizes(self) -> list[int]:
        """Codewords of each subspace, as asked for."""
        return self._part(ProductCodebooks).sizes()

    def level_sizes(self) -> list[int]:
        """Codes of each level, coarse ones first, as asked for."""
        return [*self.coarse, *self.codebook_sizes()]

    def training_rows(self, d: int) -> int:
        """Size of the sample that `fit` draws: enough for every codebook and for the covariance."""
        check("DQModel.training_rows", "d", d, dimensions())
        largest = max(self.level_sizes())
        return max(self.max_points_per_codeword * largest, 100 * d)

    def check_settings(self, d: int) -> None:
        """Refuse settings that can't be together, or are not for vectors of width `d`.

        Raises
        ------
        InputError
        """
        check("DQModel.check_settings", "d", d, dimensions())
        self._check_params()
        check_widths(self.block_widths, self.block_scale, d)
        check_share(self.max_share, self.level_sizes())
        if self.max_share is not None and self.polish:
            raise InputError(
                f"max_share is {self.max_share:g}, but {self.polish} rounds of polish would move "
                "the codewords again; leave one of them out"
            )

    def joint_width(self) -> int:
        """Prefixes that joint training keeps."""
        return max(self.beam, LEAST_BEAM)
