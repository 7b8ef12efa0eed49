"""Tokens of vectors under a model, and what they lose."""

from __future__ import annotations

import numpy as np

from dqindex._types import Codes, Float64, Matrix
from dqindex.quantizer.beam import BeamSearch
from dqindex.quantizer.blocks import scaled
from dqindex.quantizer.coarse import code_in_turn, left_over
from dqindex.quantizer.encoding import code_dtype, encoder
from dqindex.quantizer.equals import distinct
from dqindex.quantizer.parts import Parts
from dqindex.quantizer.transform import lift, project
from dqindex.vectors.matrix import check_width


class Coder:
    """Encodes rows on its thread; of codewords that are the same, the first is named.

    Parameters
    ----------
    parts : Parts
    beam : int
        Prefixes of coarse tokens that are kept.
    distortion : bool
        Give ‖ẑ - z‖² of every row as well.
    """

    def __init__(self, parts: Parts, beam: int, distortion: bool) -> None:
        self._transform, self._scale = parts.transform, parts.scale
        reduced = [distinct(level) for level in [*parts.coarse, *parts.codebooks.codebooks_]]
        levels = [level for level, _ in reduced]
        self._coarse, self._books = levels[: len(parts.coarse)], levels[len(parts.coarse) :]
        self._positions = [positions for _, positions in reduced]
        self._distortion = distortion
        self._dtype = code_dtype(max(parts.code_sizes()))
        self._encode = encoder(self._books)
        self._search = (
            BeamSearch(self._coarse, self._transform, self._books, beam)
            if beam > 1 and self._coarse
            else None
        )

    def __call__(self, rows: Matrix) -> tuple[Codes, Float64 | None]:
        """Codes of finite `rows`, (n, R + L), and their distortions, (n,), if asked for."""
        check_width(rows.shape[1], "DQModel", self._transform.n_features_in_)
        rows = scaled(rows, self._scale)
        levels = len(self._coarse)
        codes = np.empty((len(rows), levels + len(self._books)), dtype=self._dtype)
        if self._search is None:
            rows = code_in_turn(rows, self._coarse, codes)
            projected = project(self._transform, rows)
            self._encode(projected, codes[:, levels:])
        else:
            codes[:] = self._search(rows)
            rows = left_over(rows, self._coarse, codes)
            projected = project(self._transform, rows)
        distortion = self._error(rows, projected, codes[:, levels:])
        for level, positions in enumerate(self._positions):
            if positions is not None:
                codes[:, level] = positions[codes[:, level]]
        return codes, distortion

    def _error(self, rows: Matrix, projected: Matrix, codes: Codes) -> Float64 | None:
        if not self._distortion:
            return None
        distortion = np.zeros(len(rows))
        size = self._books[0].shape[1]
        for level, book in enumerate(self._books):
            error = np.take(book, codes[:, level], axis=0)
            error -= projected[:, level * size : (level + 1) * size]
            distortion += np.einsum("ij,ij->i", error, error)
        if self._transform.dropped_:
            lost = (rows - lift(self._transform, projected)).astype(np.float64)
            distortion += np.einsum("ij,ij->i", lost, lost)
        return distortion
