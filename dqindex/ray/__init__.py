"""The same models, maps and indexes from Ray.

Each takes a `ray.data.Dataset` with a column of ids and one of vectors (lists of numbers), and
gives, whatever its blocks and their order, what one machine gives of the same rows. Needs the extra
``ray``; the workers need dqindex.
"""

from __future__ import annotations

from dqindex.errors import MissingDependencyError

try:
    import ray.data  # noqa: F401
except ImportError:
    raise MissingDependencyError(
        "dqindex.ray needs ray; install it: pip install 'dqindex[ray]'"
    ) from None

from dqindex.ray.append import append
from dqindex.ray.index import build_index
from dqindex.ray.models import encode, fit
from dqindex.ray.quality import evaluate, linkage
from dqindex.ray.sids import semantic_ids

__all__ = ["append", "build_index", "encode", "evaluate", "fit", "linkage", "semantic_ids"]
