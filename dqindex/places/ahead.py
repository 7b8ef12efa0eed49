"""Work that is done on another thread while the last piece of it is used."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def ahead(tasks: Iterable[Callable[[], T]], depth: int = 1) -> Generator[T, None, None]:
    """What each task gives, in order, while the next `depth` are done.

    Examples
    --------
    >>> list(ahead([lambda: 1, lambda: 2, lambda: 3], depth=2))
    [1, 2, 3]
    """
    pending: deque[Future[T]] = deque()
    pool = ThreadPoolExecutor(depth, thread_name_prefix="dqindex-ahead")
    try:
        for task in tasks:
            pending.append(pool.submit(task))
            if len(pending) > depth:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        for future in pending:
            if not future.cancelled() and future.exception() is None:
                # A file that nobody wants any more.
                getattr(future.result(), "close", bool)()
