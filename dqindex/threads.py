"""One thread count for FAISS, BLAS and OpenMP, restored afterwards.

FAISS, OpenBLAS and OpenMP each keep a pool of their own, and FAISS's setting is process-global.
Work that must give the same bytes at any thread count goes through :func:`map_single_threaded`:
the work is cut into pieces that do not depend on the thread count, each piece runs on one thread,
and the results come back in order.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

from dqindex.errors import InputError

T = TypeVar("T")
R = TypeVar("R")


def available_threads() -> int:
    """Number of CPUs this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def _controller():  # type: ignore[no-untyped-def]
    import faiss  # noqa: F401  (its BLAS must be loaded to be found)
    import scipy.linalg  # noqa: F401
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


@contextmanager
def thread_limit(n_threads: int | None = None) -> Iterator[int]:
    """Limit FAISS, BLAS and OpenMP to `n_threads` (None: all CPUs) inside the block.

    Raises
    ------
    InputError
        If `n_threads` is less than 1.
    """
    import faiss

    if n_threads is None:
        n_threads = available_threads()
    if n_threads < 1:
        raise InputError(f"threads is {n_threads}; give a number of at least 1")
    before = faiss.omp_get_max_threads()
    with _controller().limit(limits=n_threads):
        faiss.omp_set_num_threads(n_threads)
        try:
            yield n_threads
        finally:
            faiss.omp_set_num_threads(before)


def current_threads() -> int:
    """The thread count that :func:`thread_limit` set, or FAISS's own."""
    import faiss

    return int(faiss.omp_get_max_threads())


@contextmanager
def single_blas_thread() -> Iterator[None]:
    """One BLAS thread inside the block: sums then add up in one fixed order."""
    with _controller().limit(limits=1, user_api="blas"):
        yield


def map_single_threaded(
    function: Callable[[T], R], items: Iterable[T], n_threads: int | None = None
) -> Iterator[R]:
    """Apply `function` to each item, in order, one item a thread.

    At most ``2 * n_threads`` items are in flight, so memory stays bounded for a long iterable.
    """
    import faiss

    n_threads = current_threads() if n_threads is None else n_threads
    with (
        single_blas_thread(),
        ThreadPoolExecutor(n_threads, initializer=faiss.omp_set_num_threads, initargs=(1,)) as pool,
    ):
        pending: deque[Future[R]] = deque()
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) >= 2 * n_threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
