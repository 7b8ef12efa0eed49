"""Figures of a map in a DataFrame, and its linkage."""

from __future__ import annotations

from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from dqindex._parameters import checked, instance, integer, integers, or_none, text
from dqindex.partitions.evaluation import figures_of, levels_of
from dqindex.partitions.linking import link
from dqindex.partitions.maps import check_kinds
from dqindex.quantizer.model import DQModel
from dqindex.spark.engine import SparkEngine
from dqindex.spark.frames import held, read_columns
from dqindex.spark.maps import rows_of
from dqindex.spark.models import surveyed


@checked(
    model=or_none(instance(DQModel)),
    code_sizes=or_none(integers(integer(1))),
    seed=integer(0),
    vector_column=or_none(text()),
    id_column=or_none(text()),
)
def evaluate(
    sids: Any,
    df: DataFrame | None = None,
    *,
    model: DQModel | None = None,
    code_sizes: list[int] | None = None,
    seed: int = 0,
    vector_column: str | None = None,
    id_column: str | None = None,
) -> dict[str, Any]:
    """Figures of a map: those of `SemanticIds.evaluate`, by the same names.

    All rows are counted where they lie. Only what a sample tells on one machine too is computed of
    a sample, on the driver: ``mutual_information`` and the neighbours. It holds the items whose ids
    have the least hashes, 100,000 at most, and 50,000 with vectors; distortions are of all items.
    Where groups are equally large, those with the least ids are told of.

    Parameters
    ----------
    sids : DataFrame, SemanticIds, path or URI
        The map, as `append` takes it.
    df : DataFrame, optional
        The vectors of its items, by their ids; others may be among them.
    model : DQModel, optional
        The one that made the map: for distortions, and for the sizes of the levels.
    code_sizes : list of ints, optional
        Where no model is given; by default what the map says, else the largest code plus one.
    seed : int
        Of the sample.
    vector_column, id_column : str, optional
        Of `df`, as in `fit`.

    Raises
    ------
    InputError
        If an item has no vector.
    NonFiniteError, RangeError
        If a vector can't be used, named by its id.
    StorageError, FileFormatError, IntegrityError
        If a map is damaged.
    """
    session = None if df is None else df.sparkSession
    rows, kind, sizes = rows_of(sids, session)
    vectors = None
    if df is not None:
        vectors, columns = read_columns(df, vector_column, id_column)
        check_kinds(columns.kind, kind)
        surveyed(vectors)
    sizes = levels_of(code_sizes, model, sizes)
    return figures_of(SparkEngine(), held(rows), kind, sizes, model, vectors, seed)


@checked(k=integer(1))
def linkage(sids: Any, k: int = 10) -> DataFrame:
    """Edges to the `k` items that share most with each item: source, target, weight.

    Those of `dqindex sids neighbors`; of equals in weight, those with the least ids.

    Parameters
    ----------
    sids : DataFrame, SemanticIds, path or URI
        The map, as `append` takes it.
    k : int
        Most edges an item; fewer where fewer items share a token with it.

    Raises
    ------
    InputError, StorageError, FileFormatError, IntegrityError
        If the map can't be used.
    """
    rows, kind, _ = rows_of(sids, None)
    edges = link(SparkEngine(), held(rows), kind, k)
    if not isinstance(sids, DataFrame):
        return edges
    own = sids.schema["item_id"].dataType
    return edges.select(
        F.col("source").cast(own).alias("source"),
        F.col("target").cast(own).alias("target"),
        "weight",
    )
