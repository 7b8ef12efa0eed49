"""DQTransform is orthonormal, canonical, robust, and the same in FAISS and in scikit-learn."""

from __future__ import annotations

import warnings

import faiss
import numpy as np
import pytest
from conftest import clustered
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

from dqindex import DQModel, DQTransform, Moments, ProductCodebooks, open_vectors
from dqindex.errors import DQWarning, InputError, NonFiniteError, NotFittedError
from dqindex.parallel.pieces import pieces
from dqindex.parallel.threads import thread_limit


def gram(transform: DQTransform) -> np.ndarray:
    rows = transform.components_.astype(np.float32)
    rows = rows[rows.any(axis=1)]
    return rows @ rows.T


@pytest.mark.filterwarnings("ignore::dqindex.errors.DQWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
# It follows the contract without importing scikit-learn, on purpose.
@pytest.mark.filterwarnings("ignore:Estimator DQTransform does not inherit:UserWarning")
@pytest.mark.parametrize(
    "estimator",
    [
        DQTransform(),
        DQTransform(2),
        DQTransform(3, n_components=2),
        DQTransform(balance="log-variance"),
        DQTransform(center=False),
    ],
)
def test_scikit_learn_contract(estimator):
    results = check_estimator(estimator)
    # All but the array API check, which needs a setting of scikit-learn's own.
    assert [one["check_name"] for one in results if one["status"] != "passed"] in (
        [],
        ["check_array_api_input"],
    )
    assert len(results) > 40


def test_pipeline_and_clone(vectors):
    labels = (vectors[:, 0] > vectors[:, 0].mean()).astype(int)
    pipeline = make_pipeline(DQTransform(4), KNeighborsClassifier())
    plain = KNeighborsClassifier().fit(vectors[:1000], labels[:1000])
    pipeline.fit(vectors[:1000], labels[:1000])
    # A rotation moves no neighbour.
    np.testing.assert_array_equal(
        pipeline.predict(vectors[1000:1200]), plain.predict(vectors[1000:1200])
    )
    copy = clone(DQTransform(5, n_components=7, balance="log-variance", center=False))
    assert repr(copy) == (
        "DQTransform(n_subspaces=5, n_components=7, balance='log-variance', center=False)"
    )


def test_the_axes_are_the_principal_axes(vectors):
    transform = DQTransform(3).fit(vectors)
    pca = PCA().fit(vectors.astype(np.float64))
    n = len(vectors)
    np.testing.assert_allclose(
        np.sort(transform.variances_)[::-1], pca.explained_variance_ * (n - 1) / n, rtol=1e-6
    )
    overlap = np.abs(transform.components_ @ pca.components_.T)
    np.testing.assert_allclose(overlap.max(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(
        transform.transform(vectors).var(axis=0), transform.variances_, rtol=1e-3
    )
    sums = transform.subspace_variances_
    np.testing.assert_allclose(sums, transform.variances_.reshape(3, -1).sum(axis=1))
    assert sums.max() / sums.mean() - 1 == pytest.approx(transform.imbalance_)
    assert transform.imbalance_ < 0.05


@pytest.mark.parametrize("d", [1, 5, 24, 50])
@pytest.mark.parametrize("n_subspaces", [1, 7, 16])
def test_orthonormal_and_invertible(d, n_subspaces):
    x = clustered(1000, d)
    transform = DQTransform(n_subspaces).fit(x)
    assert len(transform.components_) == -(-d // n_subspaces) * n_subspaces
    np.testing.assert_allclose(gram(transform), np.eye(d), atol=1e-6)
    y = transform.transform(x)
    assert y.dtype == np.float32
    np.testing.assert_allclose(transform.inverse_transform(y), x, atol=1e-4)
    assert transform.transform(x.astype(np.float64)).dtype == np.float64
    assert transform.transform(x.astype(np.float16)).dtype == np.float32


def test_dropped_axes_are_the_smallest(vectors):
    whole = DQTransform(4).fit(vectors)
    part = DQTransform(4, n_components=8).fit(vectors)
    assert part.dropped_ == 16
    np.testing.assert_allclose(np.sort(part.variances_), np.sort(whole.variances_)[-8:], rtol=1e-9)
    np.testing.assert_allclose(gram(part), np.eye(8), atol=1e-6)
    padded = DQTransform(4, n_components=32).fit(vectors)
    assert padded.components_.shape == (32, 24)
    assert padded.dropped_ == 0
    np.testing.assert_allclose(padded.components_.T @ padded.components_, np.eye(24), atol=1e-9)


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("n_components", [None, 8, 30])
def test_faiss_gives_the_same(vectors, center, n_components):
    transform = DQTransform(4, n_components=n_components, center=center).fit(vectors)
    linear = transform.to_faiss()
    expected = transform.transform(vectors)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(linear.apply(vectors), expected, atol=1e-5 * scale)
    back = DQTransform.from_faiss(linear, 4)
    np.testing.assert_allclose(back.transform(vectors), expected, atol=1e-5 * scale)
    if n_components is None:
        np.testing.assert_allclose(back.inverse_transform(expected), vectors, atol=1e-4)


def test_from_faiss_refuses_what_it_is_not():
    linear = faiss.LinearTransform(4, 4, False)
    faiss.copy_array_to_vector(2 * np.eye(4, dtype=np.float32).ravel(), linear.A)
    with pytest.raises(InputError, match="not orthonormal"):
        DQTransform.from_faiss(linear, 2)
    with pytest.raises(InputError, match="do not divide"):
        DQTransform.from_faiss(linear, 3)


@pytest.mark.parametrize(
    "x",
    [
        clustered(1, 6),
        clustered(4, 20),
        np.ones((50, 6), dtype=np.float32),
        np.zeros((50, 6), dtype=np.float32),
        clustered(200, 3) @ np.ones((3, 9), dtype=np.float32),
    ],
    ids=["one vector", "n < d", "constant", "zeros", "rank one"],
)
def test_degenerate_data_gives_a_basis_and_a_warning(x):
    with pytest.warns(DQWarning, match="orthonormal completion"):
        transform = DQTransform(3).fit(x)
    assert np.isfinite(transform.components_).all()
    np.testing.assert_allclose(gram(transform), np.eye(x.shape[1]), atol=1e-6)
    np.testing.assert_allclose(transform.inverse_transform(transform.transform(x)), x, atol=1e-4)


def test_streaming_equals_fitting_at_once(vectors):
    whole = DQTransform(4).fit(vectors)
    streamed = DQTransform(4).fit(open_vectors(vectors))
    parts = DQTransform(4)
    for start in range(0, len(vectors), 700):
        parts.partial_fit(vectors[start : start + 700])
    moments = Moments(24).update(vectors)
    for other in (streamed, parts, DQTransform(4).fit_moments(moments)):
        np.testing.assert_allclose(other.components_, whole.components_, atol=1e-8)
        np.testing.assert_allclose(other.mean_, whole.mean_)
        assert other.n_samples_seen_ == len(vectors)


def test_signs_and_order_do_not_depend_on_the_rows(vectors):
    shuffled = vectors[np.random.default_rng(5).permutation(len(vectors))]
    np.testing.assert_allclose(
        DQTransform(4).fit(shuffled).components_, DQTransform(4).fit(vectors).components_, atol=1e-7
    )
    largest = np.abs(DQTransform(4).fit(vectors).components_).argmax(axis=1)
    components = DQTransform(4).fit(vectors).components_
    assert (components[np.arange(24), largest] > 0).all()


def test_a_large_mean_leaves_the_axes_alone():
    x = clustered(5000, 12)
    far = x.astype(np.float64) + 1000
    np.testing.assert_allclose(
        DQTransform(3).fit(far).components_,
        DQTransform(3).fit(x.astype(np.float64)).components_,
        atol=1e-7,
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_subspaces": 0}, "n_subspaces is 0; it must be an integer from 1 to "),
        ({"n_subspaces": 2.5}, "n_subspaces is 2.5"),
        ({"n_components": 0}, "n_components is 0"),
        ({"balance": "sums"}, "balance is 'sums'; it must be one of 'variance', 'log-variance'"),
        ({"center": "yes"}, "center is 'yes'"),
    ],
)
def test_bad_parameters(vectors, settings, message):
    with pytest.raises(InputError, match=message):
        DQTransform(**settings).fit(vectors)


def test_bad_input(vectors):
    with pytest.raises(NotFittedError, match="call fit first"):
        DQTransform().transform(vectors)
    transform = DQTransform(4).fit(vectors)
    with pytest.raises(InputError, match="X has 3 features, but DQTransform is expecting 24"):
        transform.transform(vectors[:, :3])
    with pytest.raises(InputError, match="expecting 24"):
        transform.partial_fit(vectors[:, :3])
    broken = vectors.copy()
    broken[[8, 9], 0] = np.nan
    with pytest.raises(NonFiniteError, match="2 of 4000 rows hold NaN or infinity, first row 8"):
        transform.transform(broken)
    with pytest.raises(InputError, match="no parameter 'nope'"):
        transform.set_params(nope=1)


def test_scikit_learn_names_of_columns():
    from sklearn.utils.estimator_checks import check_dataframe_column_names_consistency

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        check_dataframe_column_names_consistency("DQTransform", DQTransform(2))


@pytest.mark.parametrize("kind", ["pandas", "polars"])
@pytest.mark.parametrize("estimator", [DQTransform(2), ProductCodebooks(2, 8), DQModel(2, 8)])
def test_columns_are_used_in_the_order_that_was_learned(vectors, kind, estimator):
    make = pytest.importorskip(kind).DataFrame
    names = [f"f{place}" for place in range(24)]
    columns = {name: vectors[:500, place] for place, name in enumerate(names)}
    frame = make(columns)
    fitted = clone(estimator).fit(frame)
    use = fitted.transform if hasattr(fitted, "transform") else fitted.encode
    assert fitted.feature_names_in_.tolist() == names
    expected = use(frame)
    for wrong, message in (
        (frame[names[::-1]], "same order"),
        (frame[names[:-1]], "now missing:\n- f23\n"),
        (make({"other": vectors[:500, 0], **columns}), "unseen at fit time:\n- other\n"),
    ):
        with pytest.raises(InputError, match=message):
            use(wrong)
    with pytest.warns(DQWarning, match="does not have valid feature names"):
        np.testing.assert_array_equal(use(vectors[:500]), expected)
    fitted.fit(vectors[:500])
    assert not hasattr(fitted, "feature_names_in_")
    np.testing.assert_array_equal(use(vectors[:500]), expected)


def test_a_frame_with_ids_is_read_as_it_was_learned(vectors):
    frame = pytest.importorskip("pandas").DataFrame(
        vectors[:300], columns=[f"f{place}" for place in range(24)]
    )
    ids = np.arange(300) + 7
    plain = DQModel(2, 8).fit(open_vectors(vectors[:300], ids=ids))
    frame.insert(0, "item_id", ids)
    model = DQModel(2, 8).fit(frame)
    assert model.fingerprint == plain.fingerprint
    np.testing.assert_array_equal(model.encode(frame), plain.encode(vectors[:300]))
    assert len(model.losses(frame).codebook) == 300


def test_names_of_what_goes_in():
    fitted = DQTransform(2).fit(clustered(50, 4))
    assert fitted.get_feature_names_out().tolist() == ["dq0_0", "dq0_1", "dq1_0", "dq1_1"]
    assert len(fitted.get_feature_names_out(["a", "b", "c", "d"])) == 4
    with pytest.raises(InputError, match="length equal to number of features"):
        fitted.get_feature_names_out(["a"])


def test_parameters_are_held_against_their_rules_wherever_they_are_used(vectors):
    moments = Moments(24).update(vectors)
    for use in (
        lambda one: one.fit(vectors),
        lambda one: one.partial_fit(vectors),
        lambda one: one.fit_moments(moments),
    ):
        with pytest.raises(InputError, match="balance is 'sums'"):
            use(DQTransform(balance="sums"))
    for use in (
        lambda one: one.transform(vectors),
        lambda one: one.inverse_transform(vectors),
        lambda one: one.to_faiss(),
        lambda one: one.summary(),
        lambda one: one.get_feature_names_out(),
    ):
        with pytest.raises(NotFittedError):
            use(DQTransform())


def test_moments_of_nothing_or_of_nonsense():
    with pytest.raises(InputError, match="of no vectors"):
        DQTransform().fit_moments(Moments(3))
    with pytest.raises(InputError, match="moments is 'x'"):
        DQTransform().fit_moments("x")
    broken = Moments(2).update(np.array([[1.0, np.inf], [1.0, 2.0]]))
    with pytest.raises(NonFiniteError, match="moments of vectors that are not finite"):
        DQTransform().fit_moments(broken)


def test_the_faiss_transform_is_whole(vectors):
    linear = DQTransform(4).fit(vectors).to_faiss()
    assert linear.is_trained
    assert linear.is_orthonormal
    np.testing.assert_allclose(linear.reverse_transform(linear.apply(vectors)), vectors, atol=1e-4)
    back = DQTransform.from_faiss(linear, 4)
    assert np.isnan(back.variances_).all()
    assert np.isnan(back.subspace_variances_).all()
    assert np.isnan(back.imbalance_)
    assert (back.n_features_in_, back.n_samples_seen_, back.n_subspaces) == (24, 0, 4)
    with pytest.raises(InputError, match="linear is 'x'"):
        DQTransform.from_faiss("x", 2)


def test_many_pieces_are_those_of_one(vectors):
    many = np.concatenate([vectors] * 6)  # more than a piece
    transform = DQTransform(4).fit(vectors)
    assert len(list(pieces(len(many), 24))) > 1
    expected = (many.astype(np.float64) - transform.mean_) @ transform.components_.T
    np.testing.assert_allclose(transform.transform(many), expected, atol=1e-4)
    with thread_limit(1):
        alone = transform.transform(many)
    np.testing.assert_array_equal(transform.transform(many), alone)


def test_directions_below_rounding_have_no_variance():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 4)) * [1, 1e-3, 1e-6, 0]
    with pytest.warns(DQWarning, match="vary in 3 directions only, and 4"):
        found = DQTransform(2).fit(x)
    assert np.count_nonzero(found.variances_) == 3
    assert found.summary()["d_out"] == 4
