"""`DQTransform`: centre, rotate onto the principal axes, deal the axes into balanced groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from dqindex._parameters import boolean, check, dimensions, instance, one_of, or_none, sequence
from dqindex._types import Float64, Matrix
from dqindex.errors import InputError, NonFiniteError, warn
from dqindex.parallel.rows import map_rows
from dqindex.parallel.threads import parallel_map, single_blas_thread
from dqindex.quantizer.axes import principal_axes, rank_of
from dqindex.quantizer.balance import OBJECTIVES, deal
from dqindex.quantizer.estimator import Estimator
from dqindex.quantizer.feature_names import names_of
from dqindex.quantizer.linear import Linear, from_faiss, to_faiss
from dqindex.quantizer.moments import Moments
from dqindex.quantizer.output import CONTAINERS, in_container
from dqindex.vectors.matrix import check_matrix
from dqindex.vectors.source import VectorSource

if TYPE_CHECKING:
    import faiss


class DQTransform(Estimator):
    """Orthonormal map of vectors to L subspaces of about equal variance.

    ``transform(Z) = (Z - mean_) @ components_.T``: the projection x_l = (z - z̄) W_l of the note on
    arXiv 2508.11194, all L subspaces side by side. Subspace l is columns ``l * d_out / L`` to
    ``(l + 1) * d_out / L``.

    Parameters
    ----------
    n_subspaces : int, default 8
        L, the number of subspaces.
    n_components : int, optional
        Axes to keep, the largest first; None keeps all d. If L does not divide the number, or it is
        more than d, axes of zero variance are added (their rows in `components_` are zero).
    balance : {"variance", "log-variance"}, default "variance"
        The quantity that is equal in all subspaces: see `dqindex.quantizer.balance`.
    center : bool, default True
        Subtract the mean and use the covariance. False uses the raw second moment, as inner
        products need it.

    Attributes
    ----------
    mean_ : (d,) float64
        z̄, zeros if not `center`.
    components_ : (d_out, d) float64
        W̃ transposed: orthonormal rows, except for padding.
    variances_ : (d_out,) float64
        Variance along each row of `components_`.
    subspace_variances_ : (L,) float64
        Variance of each subspace.
    imbalance_ : float
        How far the groups are from equal; 0 is perfect: see `dqindex.quantizer.balance.Deal`.
    n_features_in_ : int
        d.
    n_samples_seen_ : int
        Number of vectors learned from.
    feature_names_in_ : (d,) object array
        Names of the columns, if it was fitted on a frame. A frame with other names, or in another
        order, is then refused.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> Z = rng.normal(size=(1000, 6)) * [5, 4, 3, 2, 1, 1]
    >>> dq = DQTransform(n_subspaces=2).fit(Z)
    >>> dq.subspace_variances_.round().tolist()
    [27.0, 28.0]
    >>> bool(np.allclose(dq.inverse_transform(dq.transform(Z)), Z))
    True
    """

    _fitted: ClassVar[str] = "components_"
    _parameters: ClassVar = {
        "n_subspaces": dimensions(),
        "n_components": or_none(dimensions()),
        "balance": one_of(*OBJECTIVES),
        "center": boolean(),
    }

    mean_: Float64
    components_: Float64
    variances_: Float64
    subspace_variances_: Float64
    imbalance_: float
    n_features_in_: int
    n_samples_seen_: int

    def __init__(
        self,
        n_subspaces: int = 8,
        *,
        n_components: int | None = None,
        balance: str = "variance",
        center: bool = True,
    ) -> None:
        self.n_subspaces = n_subspaces
        self.n_components = n_components
        self.balance = balance
        self.center = center

    # Learning.

    def fit(self, X: Any, y: Any = None) -> DQTransform:
        """Learn from `X`, an array (n, d) or a `VectorSource` (streamed), and return self.

        Raises
        ------
        InputError, NonFiniteError
            If `X` is not a finite, non-empty matrix.

        Warns
        -----
        DQWarning
            If the data spans fewer directions than are kept: the other axes are an arbitrary
            orthonormal completion.
        """
        self._check_params()
        self._moments: Moments | None = None
        return self.partial_fit(X)

    def partial_fit(self, X: Any, y: Any = None) -> DQTransform:
        """Learn from `X` in addition to all earlier vectors, and return self.

        Each call solves for the axes again. To stream many small blocks, gather them in a
        `dqindex.quantizer.moments.Moments` and call `fit_moments` once.
        """
        self._check_params()
        moments = getattr(self, "_moments", None)
        if moments is None:
            self._remember_names(names_of(X))
        else:
            self._check_names(names_of(X))
        width = None if moments is None else len(moments.mean)
        if isinstance(X, VectorSource):
            if width not in (None, X.d):
                raise InputError(f"{X.name}: width {X.d}, but DQTransform was fitted on {width}")
            # A block a thread, merged in order: the same sums at any number of threads.
            parts = parallel_map(lambda block: Moments(X.d).update(block), X.blocks())
            moments = Moments(X.d) if moments is None else moments
            for part in parts:
                moments.merge(part)
        else:
            array = check_matrix(X, "DQTransform", width=width, learn=True)
            moments = Moments(array.shape[1]) if moments is None else moments
            with single_blas_thread():
                moments.update(array)
        return self.fit_moments(moments)

    def fit_moments(self, moments: Moments) -> DQTransform:
        """Learn from moments gathered elsewhere, and return self.

        Raises
        ------
        InputError, NonFiniteError
            If `moments` is not a `Moments`, or of no vectors, or of vectors that were not finite.
        """
        self._check_params()
        check("DQTransform.fit_moments", "moments", moments, instance(Moments))
        if moments.count < 1:
            raise InputError("moments of no vectors; update them first")
        if not np.isfinite(moments.scatter).all():
            raise NonFiniteError("moments of vectors that are not finite, or too long to square")
        d = len(moments.mean)
        self._moments = moments
        variances, axes = principal_axes(
            moments.covariance() if self.center else moments.second_moment()
        )
        kept = d if self.n_components is None else min(self.n_components, d)
        rank = rank_of(variances)
        variances[rank:] = 0.0
        if rank < kept:
            warn(
                f"{moments.count} vectors of width {d} vary in {rank} directions only, and {kept} "
                "are kept; the other axes are an arbitrary orthonormal completion"
            )
        wanted = np.zeros(d if self.n_components is None else self.n_components)
        wanted[:kept] = variances[:kept]
        dealt = deal(wanted, self.n_subspaces, self.balance)
        real = (dealt.order >= 0) & (dealt.order < kept)
        source = np.where(real, dealt.order, 0)
        self.mean_ = moments.mean.copy() if self.center else np.zeros(d)
        self.components_ = np.where(real[:, None], axes[source], 0.0)
        self.variances_ = np.where(real, variances[source], 0.0)
        self.subspace_variances_ = dealt.sums
        self.imbalance_ = dealt.imbalance
        self.n_features_in_ = d
        self.n_samples_seen_ = moments.count
        return self

    # Use.

    @property
    def dropped_(self) -> int:
        """Directions of the input that no row of `components_` covers."""
        return self.n_features_in_ - int(np.count_nonzero(self.components_.any(axis=1)))

    def summary(self) -> dict[str, Any]:
        """Figures for JSON: the variances, and how even they are."""
        self._check_fitted()
        return {
            "n_subspaces": self.n_subspaces,
            "d_out": len(self.components_),
            "imbalance": self.imbalance_,
            "subspace_variances": self.subspace_variances_.tolist(),
            "variances": self.variances_.tolist(),
        }

    def transform(self, X: Any) -> Any:
        """Project: (n, d) to (n, d_out), float32 for float16 or float32 input, else float64.

        A numpy array, or the frame that `set_output` asks for.
        """
        projected = self.projected(X)
        config = getattr(self, "_sklearn_output_config", {})
        container = config.get("transform", "default")
        return in_container(projected, container, self.get_feature_names_out(), X)

    def projected(self, X: Any) -> Matrix:
        """`transform`, but always as a numpy array."""
        self._check_fitted()
        self._check_names(names_of(X))
        array = check_matrix(X, "DQTransform", width=self.n_features_in_)
        return map_rows(array, len(self.components_), lambda rows: project(self, rows))

    def fit_transform(self, X: Any, y: Any = None) -> Any:
        """Fit to `X`, then project it."""
        return self.fit(X).transform(X)

    def set_output(self, *, transform: str | None = None) -> DQTransform:
        """Choose the type that `transform` returns, and return self.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"}, optional
            A numpy array, or a frame whose columns are named as `get_feature_names_out` says; a
            pandas frame keeps the index of the input. None changes nothing.
        """
        check("DQTransform.set_output", "transform", transform, or_none(one_of(*CONTAINERS)))
        if transform is not None:
            self._sklearn_output_config = {"transform": transform}
        return self

    def inverse_transform(self, Y: Any) -> Matrix:
        """Map back to the original space: (n, d_out) to (n, d), exact unless it dropped axes."""
        self._check_fitted()
        array = check_matrix(Y, "DQTransform", width=len(self.components_))
        return map_rows(array, self.n_features_in_, lambda rows: lift(self, rows))

    def get_feature_names_out(self, input_features: Any = None) -> Any:
        """Names of the output columns: subspace, then axis within it."""
        self._check_fitted()
        if input_features is not None:
            check("get_feature_names_out", "input_features", input_features, sequence())
            given = np.array(list(input_features), dtype=object)
            if len(given) != self.n_features_in_:
                raise InputError(
                    f"input_features should have length equal to number of features "
                    f"({self.n_features_in_}), got {len(given)}"
                )
            learned = getattr(self, "feature_names_in_", None)
            if learned is not None and not np.array_equal(given, learned):
                raise InputError("input_features is not equal to feature_names_in_")
        size = len(self.components_) // self.n_subspaces
        return np.array(
            [f"dq{group}_{axis}" for group in range(self.n_subspaces) for axis in range(size)],
            dtype=object,
        )

    # FAISS.

    def to_faiss(self) -> faiss.LinearTransform:
        """The same map as a ``faiss.LinearTransform`` (float32, the mean folded into its bias).

        If the mean is large compared with the spread, rounding errors of the folded bias are
        relative to |z|, not to |z - z̄|.
        """
        self._check_fitted()
        return to_faiss(Linear(self.components_, self.mean_ if self.center else None))

    @classmethod
    def from_faiss(cls, linear: faiss.LinearTransform, n_subspaces: int) -> DQTransform:
        """Read back a ``faiss.LinearTransform`` with orthonormal rows (zero rows are padding).

        FAISS does not keep variances: they are NaN. The mean comes back without its part in
        dropped directions.

        Raises
        ------
        InputError
            If the rows are not orthonormal, or `n_subspaces` does not divide their number.
        """
        import faiss

        check("DQTransform.from_faiss", "linear", linear, instance(faiss.LinearTransform))
        check("DQTransform.from_faiss", "n_subspaces", n_subspaces, dimensions())
        if linear.d_out % n_subspaces:
            raise InputError(f"{n_subspaces} subspaces do not divide {linear.d_out} output axes")
        components, mean = from_faiss(linear)
        real = int(components.any(axis=1).sum())
        self = cls(
            n_subspaces,
            n_components=None if real == linear.d_in else real,
            center=mean is not None,
        )
        self.components_ = components
        self.mean_ = np.zeros(linear.d_in) if mean is None else mean
        self.variances_ = np.full(linear.d_out, np.nan)
        self.subspace_variances_ = np.full(n_subspaces, np.nan)
        self.imbalance_ = float("nan")
        self.n_features_in_ = linear.d_in
        self.n_samples_seen_ = 0
        return self

    def __sklearn_tags__(self) -> Any:
        # Called by scikit-learn alone, which is then imported already.
        from sklearn.utils import InputTags, Tags, TargetTags, TransformerTags

        return Tags(
            estimator_type="transformer",
            target_tags=TargetTags(required=False),
            transformer_tags=TransformerTags(preserves_dtype=["float64", "float32"]),
            input_tags=InputTags(),
        )


# What `DQTransform` does, for rows that were checked: finite floats, of any size.


def learn_axes(transform: DQTransform, rows: Matrix) -> DQTransform:
    """Fit `transform` to `rows`, and return it."""
    with single_blas_thread():
        moments = Moments(rows.shape[1]).update(rows)
    return transform.fit_moments(moments)


def project(transform: DQTransform, rows: Matrix) -> Matrix:
    """``transform.transform(rows)``, on this thread."""
    mean = transform.mean_.astype(rows.dtype)
    return (rows - mean) @ np.ascontiguousarray(transform.components_.T, dtype=rows.dtype)


def lift(transform: DQTransform, rows: Matrix) -> Matrix:
    """``transform.inverse_transform(rows)``, on this thread."""
    return rows @ transform.components_.astype(rows.dtype) + transform.mean_.astype(rows.dtype)
