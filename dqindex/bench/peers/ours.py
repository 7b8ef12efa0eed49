"""Our own indexes: any spec of ``dqindex build``."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np

from dqindex._types import Float32
from dqindex.bench.peers.base import Options
from dqindex.bench.peers.faiss import FaissPeer, variances
from dqindex.errors import SpecError
from dqindex.index.adding import apply_transform
from dqindex.index.anatomy import dissect
from dqindex.index.build import build_index
from dqindex.index.index import DQIndex

SAMPLE = 65536


class DQPeer(FaissPeer):
    """``dqindex:SPEC``, which ``--spec SPEC`` stands for; or ``SPEC;score_aware=ETA``."""

    package = "dqindex"
    built: DQIndex

    def parse(self, argument: str) -> Options:
        """The spec, and the weight of its codes.

        Raises
        ------
        SpecError
            If something else stands behind the spec.
        """
        spec, _, option = argument.partition(";")
        options = super().parse(spec)
        if option:
            name, _, value = option.partition("=")
            try:
                options["score_aware"] = float(value)
            except ValueError:
                name = ""
            if name != "score_aware":
                raise SpecError(f"dqindex: {option!r} after a spec; it may be score_aware=3")
        return options

    def build(self, x: Float32, threads: int) -> None:
        """`build_index`, with what it tells of its steps."""
        began = self.seconds
        with self.step("all"):
            self.built = build_index(
                x,
                str(self.options["spec"]),
                metric=self.metric,
                score_aware=float(self.options.get("score_aware", 1.0)),
                threads=threads,
                seed=self.seed,
            )
        self.index = self.built.index
        self.seconds = dict(self.built.training_seconds)
        # What training did not take went into checking and adding.
        self.seconds["add"] = began.pop("all") - sum(self.seconds.values())
        faiss.omp_set_num_threads(threads)

    def details(self, x: Float32) -> dict[str, Any]:
        """Variance of the subspaces before and after, and how evenly the codewords are used."""
        transform, model = self.built.manifest["transform"], self.built.model
        if transform is None:
            return {}
        groups = len(transform["subspace_variances"])
        chosen = np.random.default_rng(self.seed).choice(len(x), min(SAMPLE, len(x)), False)
        rows = turned = self.unit(x[np.sort(chosen)])
        for link in dissect(self.index).chain:
            turned = apply_transform(link, turned)
        found: dict[str, Any] = {
            "before": variances(rows, groups),
            "after": variances(turned, groups),
        }
        if model is not None:
            codes = model.encode(rows)[:, -groups:]
            found["codebooks"] = [
                _use(column, size)
                for column, size in zip(codes.T, model.code_sizes()[-groups:], strict=True)
            ]
        return {"subspaces": found}


def _use(column: Any, size: int) -> dict[str, float]:
    """How many codewords are used, and how many equally used ones would say as much."""
    share = np.bincount(column, minlength=size) / len(column)
    used = share[share > 0]
    return {
        "size": size,
        "used": len(used),
        "perplexity": float(np.exp(-(used * np.log(used)).sum())),
    }
