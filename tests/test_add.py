"""Adding by our own path stores what FAISS's own ``add`` would."""

from __future__ import annotations

import faiss
import numpy as np
import pytest
from conftest import clustered

from dqindex.index.adding import add_blocks, apply_transform
from dqindex.parallel.threads import thread_limit


def content(index: faiss.Index) -> tuple[np.ndarray, np.ndarray]:
    """Ids and codes in the order they are stored."""
    if not hasattr(index, "invlists"):
        codes = faiss.vector_to_array(index.codes).reshape(index.ntotal, -1)
        return np.arange(index.ntotal), codes
    ids, codes = [], []
    for number in range(index.nlist):
        size = index.invlists.list_size(number)
        ids.append(faiss.rev_swig_ptr(index.invlists.get_ids(number), size).copy())
        flat = faiss.rev_swig_ptr(index.invlists.get_codes(number), size * index.code_size)
        codes.append(flat.copy().reshape(size, -1))
    return np.concatenate(ids), np.concatenate(codes)


@pytest.mark.parametrize(
    "spec",
    "PQ8np PQ24np PQ2np IVF16,PQ8 IVF300,PQ4 IVF16_HNSW8,PQ8 PQ8x4np PQ6x5np PQ8x10np "
    "IVF16,PQ8x6np IVF16,SQ8".split(),
)
@pytest.mark.parametrize("metric", [faiss.METRIC_L2, faiss.METRIC_INNER_PRODUCT])
def test_the_same_codes_as_faiss(spec, metric):
    x = clustered(6000, 24)
    ours = faiss.index_factory(24, spec, metric)
    if hasattr(ours, "pq"):
        ours.pq.cp.niter = 1  # any codebooks will do
        ours.do_polysemous_training = False  # seconds of annealing
    ours.train(x)
    theirs = faiss.clone_index(ours)
    blocks = [x[:2500], x[2500:2501], x[2501:]]
    assert sum(add_blocks(ours, iter(blocks))) == 6000
    theirs.add(x)
    assert ours.ntotal == theirs.ntotal == 6000
    (our_ids, our_codes), (their_ids, their_codes) = content(ours), content(theirs)
    np.testing.assert_array_equal(our_ids, their_ids)
    assert (our_codes == their_codes).mean() > 0.9999  # ties and rounding apart
    found, expected = ours.search(x[:20], 5)[1], theirs.search(x[:20], 5)[1]
    assert (found == expected).mean() > 0.99


def test_transforms_and_refinement():
    x = clustered(3000, 20)
    ours, theirs = (faiss.index_factory(20, "PCA16,IVF8,PQ4x4,Refine(SQ8)") for _ in range(2))
    for index in (ours, theirs):
        index.train(x)
        index.k_factor = 4
    assert sum(add_blocks(ours, [x])) == 3000
    theirs.add(x)
    np.testing.assert_array_equal(ours.search(x[:50], 3)[1], theirs.search(x[:50], 3)[1])


def test_transform_in_pieces():
    x = clustered(70000, 6)
    rotation = faiss.RandomRotationMatrix(6, 6)
    rotation.train(x[:1])
    results = []
    for threads in (1, 2):
        with thread_limit(threads):
            results.append(apply_transform(rotation, x))
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_allclose(results[0], rotation.apply(x), atol=1e-5)
