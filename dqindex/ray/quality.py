"""Figures of a map in a Dataset, and its linkage."""

from __future__ import annotations

from typing import Any

import ray.data

from dqindex._parameters import checked, instance, integer, integers, or_none, text
from dqindex.partitions.evaluation import figures_of, levels_of
from dqindex.partitions.linking import link
from dqindex.partitions.maps import check_kinds
from dqindex.quantizer.model import DQModel
from dqindex.ray.engine import RayEngine
from dqindex.ray.maps import rows_of
from dqindex.ray.models import surveyed
from dqindex.ray.tables import blocks_of, parts_here, read_columns


@checked(
    model=or_none(instance(DQModel)),
    code_sizes=or_none(integers(integer(1))),
    seed=integer(0),
    vector_column=or_none(text()),
    id_column=or_none(text()),
)
def evaluate(
    sids: Any,
    ds: Any = None,
    *,
    model: DQModel | None = None,
    code_sizes: list[int] | None = None,
    seed: int = 0,
    vector_column: str | None = None,
    id_column: str | None = None,
) -> dict[str, Any]:
    """Figures of a map: those of `SemanticIds.evaluate`, by the same names.

    As `dqindex.spark.evaluate`, of Datasets of Ray.
    """
    rows, kind, sizes = rows_of(sids)
    vectors = None
    if ds is not None:
        frame, columns = read_columns(ds, vector_column, id_column)
        check_kinds(columns.kind, kind)
        frame = frame.materialize()
        surveyed(frame)
        vectors = blocks_of(frame)
    sizes = levels_of(code_sizes, model, sizes)
    engine = RayEngine(parts_here())
    return figures_of(engine, rows, kind, sizes, model, vectors, seed)


@checked(k=integer(1))
def linkage(sids: Any, k: int = 10) -> Any:
    """Edges to the `k` items that share most with each item: source, target, weight.

    As `dqindex.spark.linkage`, of a Dataset of Ray, and gives one.
    """
    rows, kind, _ = rows_of(sids)
    return ray.data.from_arrow_refs(link(RayEngine(parts_here()), rows, kind, k))
