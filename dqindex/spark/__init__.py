"""The same models, maps and indexes from Spark.

Each takes a `pyspark.sql.DataFrame` with a column of ids and one of vectors (arrays of numbers),
and gives, whatever its partitions and their order, what one machine gives of the same rows. Needs
the extra ``spark``; the executors need dqindex.
"""

from __future__ import annotations

from dqindex.errors import MissingDependencyError

try:
    import pyspark  # noqa: F401
except ImportError:
    raise MissingDependencyError(
        "dqindex.spark needs pyspark; install it: pip install 'dqindex[spark]'"
    ) from None

from dqindex.spark.append import append
from dqindex.spark.index import build_index
from dqindex.spark.models import encode, fit
from dqindex.spark.quality import evaluate, linkage
from dqindex.spark.sids import semantic_ids

__all__ = ["append", "build_index", "encode", "evaluate", "fit", "linkage", "semantic_ids"]
