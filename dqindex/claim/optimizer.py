"""Steps of stochastic gradient descent."""

from __future__ import annotations

import numpy as np

from dqindex.claim.objective import Codewords

OPTIMIZERS = ("adam", "sgd")
ADAM_BETAS = (0.9, 0.999)
ADAM_EPSILON = 1e-8


class Optimizer:
    """One step of SGD or Adam (Kingma and Ba, 2015), the rate along half a cosine."""

    def __init__(self, name: str, rate: float, shape: tuple[int, ...]) -> None:
        self._adam = name == "adam"
        self._rate = rate
        self._first, self._second = np.zeros(shape), np.zeros(shape)
        self._taken = 0

    def __call__(self, codewords: Codewords, gradient: Codewords, share: float) -> Codewords:
        """The codewords after a step, at this `share` of all steps."""
        rate = self._rate * 0.5 * (1 + np.cos(np.pi * share))
        if not self._adam:
            return np.asarray(codewords - rate * gradient)
        self._taken += 1
        b1, b2 = ADAM_BETAS
        self._first = b1 * self._first + (1 - b1) * gradient
        self._second = b2 * self._second + (1 - b2) * gradient**2
        first = self._first / (1 - b1**self._taken)
        second = self._second / (1 - b2**self._taken)
        return np.asarray(codewords - rate * first / (np.sqrt(second) + ADAM_EPSILON))
