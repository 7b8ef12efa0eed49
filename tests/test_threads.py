"""Work on all threads: in order, nested, stopped half-way, and after a fork."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Generator
from typing import cast

import faiss
import pytest
from threadpoolctl import threadpool_info

from dqindex.errors import InputError
from dqindex.parallel.threads import (
    _State,
    current_threads,
    parallel_map,
    single_blas_thread,
    thread_limit,
)


def test_results_come_in_order():
    later = threading.Event()

    def first_ends_last(item: int) -> int:
        if item == 1:
            later.set()
        assert later.wait(60)
        return item

    with thread_limit(2):
        assert list(parallel_map(first_ends_last, range(10))) == list(range(10))


def test_a_call_within_a_call_stays_on_its_thread():
    def inner(_: int) -> set[int]:
        return set(parallel_map(lambda _: threading.get_ident(), range(5)))

    with thread_limit(2):
        for threads in parallel_map(inner, range(8)):
            assert len(threads) == 1
            assert threading.get_ident() not in threads


def test_an_error_ends_the_rest():
    begun = []

    def fails(i: int) -> None:
        begun.append(i)
        raise ValueError(i)

    with thread_limit(2), pytest.raises(ValueError, match="0"):
        list(parallel_map(fails, range(1000)))
    seen = len(begun)
    assert seen < 10
    # Nothing waits behind the caller's back: it would come before this.
    with thread_limit(2):
        list(parallel_map(int, range(4)))
    assert len(begun) == seen


def test_items_are_drawn_as_they_are_needed():
    drawn = []

    def items():
        for i in range(100):
            drawn.append(i)
            yield i

    with thread_limit(2):
        found = cast(Generator[int], parallel_map(lambda i: i, items()))
        assert next(found) == 0
        found.close()
    assert len(drawn) == 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_it_works_in_a_forked_child():
    code = """
import os, warnings
from dqindex.parallel.threads import parallel_map
warnings.simplefilter("ignore")  # newer Pythons warn of forking with threads
assert list(parallel_map(abs, [-1, -2])) == [1, 2]
child = os.fork()
if not child:
    os._exit(0 if list(parallel_map(abs, [-3])) == [3] else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_one_blas_thread_leaves_the_others():
    before = faiss.omp_get_max_threads()
    with thread_limit(2):
        outside = blas_threads()
        with single_blas_thread(), single_blas_thread():
            assert current_threads() == 2
            assert set(blas_threads()) == {1}
        assert blas_threads() == outside
    assert faiss.omp_get_max_threads() == before


def blas_threads(*, of_numpy: bool = False) -> list[int]:
    """Counts of all, or without that of FAISS, which runs on OpenMP."""
    return [
        one["num_threads"]
        for one in threadpool_info()
        if one["user_api"] == "blas" and not (of_numpy and one["threading_layer"] == "openmp")
    ]


def test_threads_must_be_positive():
    with pytest.raises(InputError, match="threads is 0"), thread_limit(0):
        pass


def test_a_pool_is_kept_and_closed():
    with thread_limit(2):
        first = list(parallel_map(lambda _: threading.get_ident(), range(4)))
        assert set(parallel_map(lambda _: threading.get_ident(), range(4))) <= {*first} | set(
            thread.ident for thread in threading.enumerate() if thread.name.startswith("dqindex")
        )
    state = _State()
    pool = state.pool(2)
    assert state.pool(2) is pool
    assert state.pool(3) is not pool
    assert pool.submit(lambda: state.in_worker).result()
    assert not state.in_worker
    workers = [thread for thread in threading.enumerate() if thread in pool._threads]
    assert workers
    state.close()
    assert not any(worker.is_alive() for worker in workers)
    assert state.pool(2) is not pool
    state.close()


def test_limits_within_each_other():
    with thread_limit(3):
        with thread_limit(1):
            assert current_threads() == 1
        assert current_threads() == 3
        with pytest.raises(ZeroDivisionError), thread_limit(2):
            raise ZeroDivisionError
        assert current_threads() == 3


def test_at_most_two_items_a_thread_are_in_flight():
    drawn = []
    with thread_limit(2):
        found = parallel_map(abs, (drawn.append(i) or i for i in range(50)), n_threads=3)
        next(found)
        assert len(drawn) == 6
        assert list(found) == list(range(1, 50))


def test_limits_side_by_side_leave_what_was_there():
    """Two threads open limits and close them in the order in which they opened them."""
    before = blas_threads(), faiss.omp_get_max_threads()
    first_is_in, second_is_in, first_is_out = (threading.Event() for _ in range(3))
    seen = {}

    def first() -> None:
        with thread_limit(1):
            first_is_in.set()
            assert second_is_in.wait(60)
            seen["first"] = current_threads(), faiss.omp_get_max_threads()
        first_is_out.set()

    def second() -> None:
        assert first_is_in.wait(60)
        with thread_limit(3):
            second_is_in.set()
            assert first_is_out.wait(60)
            seen["second"] = current_threads(), faiss.omp_get_max_threads()
            with single_blas_thread():
                assert set(blas_threads()) == {1}

    threads = [threading.Thread(target=one) for one in (first, second)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert seen == {"first": (1, 1), "second": (3, 3)}
    assert (blas_threads(), faiss.omp_get_max_threads()) == before


def test_a_limit_does_not_wake_blas_where_another_needs_one_thread():
    """Sums that add up in one fixed order go on doing so."""
    with single_blas_thread():
        with thread_limit(3):
            assert set(blas_threads(of_numpy=True)) == {1}
        assert set(blas_threads(of_numpy=True)) == {1}
    with thread_limit(3), single_blas_thread():
        assert set(blas_threads()) == {1}
