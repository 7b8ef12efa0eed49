"""One thread count for FAISS, BLAS and OpenMP, restored afterwards.

FAISS, OpenBLAS and OpenMP each keep a pool of their own, and FAISS's setting is process-global.
Work that must give the same bytes at any thread count goes through :func:`parallel_map`:
the work is cut into pieces that do not depend on the thread count, each piece runs on one thread,
and the results come back in order.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

from dqindex._parameters import checked, integer, or_none

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


# Kept here, as FAISS's own count falls with that of its BLAS, which runs on OpenMP.
_limits: list[int] = []


@checked(n_threads=or_none(integer(1)))
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
    before = faiss.omp_get_max_threads()
    with _controller().limit(limits=n_threads):
        faiss.omp_set_num_threads(n_threads)
        _limits.append(n_threads)
        try:
            yield n_threads
        finally:
            _limits.pop()
            faiss.omp_set_num_threads(before)


def current_threads() -> int:
    """The thread count that :func:`thread_limit` set, or FAISS's own."""
    import faiss

    return _limits[-1] if _limits else int(faiss.omp_get_max_threads())


class _SingleBlas:
    """Who is inside `single_blas_thread`, and what to restore when all have left."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0
        self.limit: Any = None


_single_blas = _SingleBlas()


@contextmanager
def single_blas_thread() -> Iterator[None]:
    """One BLAS thread inside the block: sums then add up in one fixed order.

    Blocks within each other, or side by side, set it once: OpenBLAS takes a millisecond to wake
    the threads that it had.
    """
    shared = _single_blas
    with shared.lock:
        if not shared.users:
            shared.limit = _controller().limit(limits=1, user_api="blas")
        shared.users += 1
    try:
        yield
    finally:
        with shared.lock:
            shared.users -= 1
            if not shared.users:
                shared.limit.restore_original_limits()


_worker = threading.local()


def _start_worker() -> None:
    import faiss

    faiss.omp_set_num_threads(1)
    _worker.runs = True


# Kept: a new thread costs milliseconds, as its buffers for products are new memory.
@cache
def _pool(n_threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(n_threads, thread_name_prefix="dqindex", initializer=_start_worker)


if hasattr(os, "register_at_fork"):
    # A forked child has the pools, but not their threads.
    os.register_at_fork(after_in_child=_pool.cache_clear)


def parallel_map(
    function: Callable[[T], R], items: Iterable[T], n_threads: int | None = None
) -> Iterator[R]:
    """Apply `function` to each item, in order, one item a thread.

    At most ``2 * n_threads`` items are in flight, so memory stays bounded for a long iterable.
    Within such a `function`, the items of another call run one after another on its thread.
    """
    if getattr(_worker, "runs", False):
        yield from map(function, items)
        return
    n_threads = current_threads() if n_threads is None else n_threads
    pool = _pool(n_threads)
    pending: deque[Future[R]] = deque()
    with single_blas_thread():
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
            wait(pending)
