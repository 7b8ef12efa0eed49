"""One thread count for FAISS, BLAS and OpenMP, restored afterwards.

FAISS, OpenBLAS and OpenMP each keep a pool of their own, and FAISS's setting is process-global.
Work that must give the same bytes at any thread count goes through :func:`parallel_map`:
the work is cut into pieces that do not depend on the thread count, each piece runs on one thread,
and the results come back in order.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

from dqindex._parameters import checked, thread_count

T = TypeVar("T")
R = TypeVar("R")


def available_threads() -> int:
    """Number of CPUs this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def _controller(api: str):  # type: ignore[no-untyped-def]
    """The libraries of one kind alone: a limit puts back the counts of all that it knows."""
    import faiss  # noqa: F401  (its BLAS must be loaded to be found)
    import scipy.linalg  # noqa: F401
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api=api)


class _State:
    """What is set, and for whom: all of it is here.

    Per process, since FAISS, BLAS and OpenMP have one setting a process:

    - `limits`: thread and count of the `thread_limit` blocks that are open, the innermost last.
      Kept here, as FAISS's own count falls with that of its BLAS, which runs on OpenMP.
    - `users`: how many are inside `single_blas_thread`.
    - `blas`, `restore`: the count that BLAS has from us, and what puts the old one back when all
      have left, in whatever order they do.
    - `pools`: a pool of workers a thread count, kept until the process ends: a new thread costs
      milliseconds, as its buffers for products are new memory. A forked child has the pools but not
      their threads, so it begins with none.

    Per thread, `own.works`: whether it is a worker of ours, which runs all it is given itself.
    """

    def __init__(self) -> None:
        self.limits: list[tuple[int, int]] = []
        self.users = 0
        self.blas: int | None = None
        self.restore: Any = None
        self.pools: dict[int, ThreadPoolExecutor] = {}
        self.lock = threading.Lock()
        self.own = threading.local()

    def pool(self, n_threads: int) -> ThreadPoolExecutor:
        """The pool of so many workers."""
        with self.lock:
            if n_threads not in self.pools:
                self.pools[n_threads] = ThreadPoolExecutor(
                    n_threads, thread_name_prefix="dqindex", initializer=self._start_worker
                )
            return self.pools[n_threads]

    def _start_worker(self) -> None:
        import faiss

        faiss.omp_set_num_threads(1)
        self.own.works = True

    @property
    def in_worker(self) -> bool:
        """Whether this thread is a worker."""
        return getattr(self.own, "works", False)

    @property
    def limit(self) -> int | None:
        """The count of the innermost limit of this thread, else of any; None without one."""
        own = [count for thread, count in self.limits if thread == threading.get_ident()]
        return own[-1] if own else self.limits[-1][1] if self.limits else None

    def settle(self) -> None:
        """Give BLAS, which has one count a process, what the blocks that are open say.

        With `lock` held.
        """
        wanted = 1 if self.users else self.limit
        if wanted == self.blas:
            return
        if wanted is None:
            self.restore.restore_original_limits()
            self.restore = None
        else:
            limiter = _controller("blas").limit(limits=wanted)
            self.restore = self.restore or limiter
        self.blas = wanted

    def close(self) -> None:
        """End the workers, once they have done what they were given."""
        with self.lock:
            pools, self.pools = self.pools, {}
        for pool in pools.values():
            pool.shutdown()

    def after_fork(self) -> None:
        """In a forked child: no pools, and a lock that nobody holds."""
        self.pools, self.lock = {}, threading.Lock()


_state = _State()
atexit.register(_state.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_state.after_fork)


@checked(n_threads=thread_count())
@contextmanager
def thread_limit(n_threads: int | None = None) -> Iterator[int]:
    """Limit FAISS, BLAS and OpenMP to `n_threads` (None: all CPUs) inside the block.

    FAISS and OpenMP keep a count for each thread that calls them; BLAS has one for all, which is
    that of the block that was last opened or left. Where all are left, it is what it was before.

    Raises
    ------
    InputError
        If `n_threads` is less than 1.
    """
    import faiss

    if n_threads is None:
        n_threads = available_threads()
    before = faiss.omp_get_max_threads()
    entry = threading.get_ident(), n_threads
    with _controller("openmp").limit(limits=n_threads):
        with _state.lock:
            _state.limits.append(entry)
            _state.settle()
        faiss.omp_set_num_threads(n_threads)
        try:
            yield n_threads
        finally:
            with _state.lock:
                _state.limits.reverse()
                _state.limits.remove(entry)
                _state.limits.reverse()
                _state.settle()
            faiss.omp_set_num_threads(before)


def current_threads() -> int:
    """The thread count that :func:`thread_limit` set, or FAISS's own."""
    import faiss

    limit = _state.limit
    return int(faiss.omp_get_max_threads()) if limit is None else limit


@contextmanager
def single_blas_thread() -> Iterator[None]:
    """One BLAS thread inside the block: sums then add up in one fixed order.

    Blocks within each other, or side by side, set it once: OpenBLAS takes a millisecond to wake
    the threads that it had.
    """
    with _state.lock:
        _state.users += 1
        _state.settle()
    try:
        yield
    finally:
        with _state.lock:
            _state.users -= 1
            _state.settle()


def parallel_map(
    function: Callable[[T], R], items: Iterable[T], n_threads: int | None = None
) -> Iterator[R]:
    """Apply `function` to each item, in order, one item a thread.

    At most ``2 * n_threads`` items are in flight, so memory stays bounded for a long iterable.
    Within such a `function`, the items of another call run one after another on its thread.
    """
    if _state.in_worker:
        yield from map(function, items)
        return
    n_threads = current_threads() if n_threads is None else n_threads
    pool = _state.pool(n_threads)
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
