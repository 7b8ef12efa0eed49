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
from dqindex.parallel.threads import current_threads, parallel_map, single_blas_thread, thread_limit


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


def blas_threads() -> list[int]:
    return [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]


def test_threads_must_be_positive():
    with pytest.raises(InputError, match="threads is 0"), thread_limit(0):
        pass
