"""`ProductCodebooks`: one codebook a subspace: train, encode, decode."""

from __future__ import annotations

import logging
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from dqindex._parameters import (
    MOST_RUNS,
    callback,
    check,
    codewords,
    dimensions,
    integer,
    integer_or_integers,
    number,
    one_of,
    or_none,
    sequence,
    unbounded,
)
from dqindex._types import Codes, Float32, Matrix, Progress, no_progress
from dqindex.errors import InputError, warn
from dqindex.parallel.pieces import pieces
from dqindex.parallel.threads import parallel_map
from dqindex.quantizer.encoding import check_codes, code_dtype, encoder
from dqindex.quantizer.equals import distinct
from dqindex.quantizer.estimator import Estimator
from dqindex.quantizer.feature_names import names_of
from dqindex.quantizer.kmeans import STARTS, train_kmeans
from dqindex.quantizer.nearest import nearest
from dqindex.quantizer.shares import check_share
from dqindex.vectors.matrix import check_matrix

log = logging.getLogger(__name__)


class ProductCodebooks(Estimator):
    """Product quantiser: cuts the axes into L equal parts, with k-means in each.

    Jégou et al., "Product Quantization for Nearest Neighbor Search", TPAMI 2011. Applied to the
    output of `DQTransform`, these are the codebooks C_l of arXiv 2508.11194, and ``encode`` is its
    quantisation c_l = argmin_j ‖x_l - r_l^j‖².

    Parameters
    ----------
    n_subspaces : int, default 8
        L.
    n_codewords : int or list of L ints, default 256
        K, codewords of every subspace, any size, or one size a subspace.
    seed : int, default 0
        Of every random choice.
    n_iter : int, default 16
        Lloyd iterations.
    n_redo : int, default 1
        Runs of k-means; the best one is kept.
    init : {"k-means++", "random"}, default "k-means++"
        Start of k-means.
    max_points_per_codeword : int, default 256
        The training uses at most this many times K vectors, chosen at random.
    max_share : float, optional
        No codeword is the nearest of more than this share of the training vectors (balanced
        k-means): `dqindex.quantizer.shares`.

    Attributes
    ----------
    codebooks_ : list of L arrays (K_l, dsub) float32
        The codewords r_l^j.
    unused_codewords_ : (L,) int64
        Codewords to which no training vector is nearest. With fewer distinct training vectors than
        codewords, the spare codewords are copies of the first.
    n_features_in_ : int
        d_out, L * dsub.
    feature_names_in_ : (d,) object array
        Names of the columns, if it was fitted on a frame. A frame with other names, or in another
        order, is then refused.

    Examples
    --------
    >>> import numpy as np
    >>> Y = np.random.default_rng(0).normal(size=(2000, 8)).astype(np.float32)
    >>> pq = ProductCodebooks(2, [16, 100]).fit(Y)
    >>> [codebook.shape for codebook in pq.codebooks_]
    [(16, 4), (100, 4)]
    >>> codes = pq.encode(Y)
    >>> codes.shape, codes.dtype, pq.decode(codes).shape
    ((2000, 2), dtype('uint8'), (2000, 8))
    """

    _fitted: ClassVar[str] = "codebooks_"
    _parameters: ClassVar = {
        "n_subspaces": dimensions(),
        "n_codewords": integer_or_integers(codewords()),
        "seed": unbounded(0),
        "n_iter": integer(1),
        "n_redo": integer(1, MOST_RUNS),
        "init": one_of(*STARTS),
        "max_points_per_codeword": integer(1),
        "max_share": or_none(number(more_than=0, less_than=1)),
    }

    codebooks_: list[Float32]
    unused_codewords_: npt.NDArray[np.int64]
    n_features_in_: int

    def __init__(
        self,
        n_subspaces: int = 8,
        n_codewords: int | list[int] = 256,
        *,
        seed: int = 0,
        n_iter: int = 16,
        n_redo: int = 1,
        init: str = "k-means++",
        max_points_per_codeword: int = 256,
        max_share: float | None = None,
    ) -> None:
        self.n_subspaces = n_subspaces
        self.n_codewords = n_codewords
        self.seed = seed
        self.n_iter = n_iter
        self.n_redo = n_redo
        self.init = init
        self.max_points_per_codeword = max_points_per_codeword
        self.max_share = max_share

    # Learning.

    def sizes(self) -> list[int]:
        """K of each subspace.

        Raises
        ------
        InputError
            If `n_codewords` is a list of another length than `n_subspaces`.
        """
        self._check_params()
        if isinstance(self.n_codewords, int | np.integer):
            return [int(self.n_codewords)] * self.n_subspaces
        sizes = [int(size) for size in self.n_codewords]
        if len(sizes) != self.n_subspaces:
            raise InputError(
                f"n_codewords lists {len(sizes)} sizes for {self.n_subspaces} subspaces; "
                "give one size a subspace, or one for all"
            )
        return sizes

    def training_rows(self) -> int:
        """The most rows that the training uses."""
        return self.max_points_per_codeword * max(self.sizes())

    def fit(
        self,
        Y: Any,
        y: Any = None,
        *,
        start: list[Float32] | None = None,
        progress: Progress | None = None,
    ) -> ProductCodebooks:
        """Train on `Y`, shape (n, L * dsub), and return self; each thread trains one subspace.

        Parameters
        ----------
        Y : (n, d_out) array-like
            Projected vectors.
        start : list of L arrays (K_l, dsub), optional
            Codebooks to start k-means from, so that codewords keep their labels.
        progress : callable, optional
            Called with ("train codebooks", subspaces done, L).

        Raises
        ------
        InputError, NonFiniteError, RangeError
            If `Y` is not a finite matrix whose width L divides, of a norm that float32 can square.

        Warns
        -----
        DQWarning
            If a subspace has fewer distinct training vectors than codewords.
        """
        check("ProductCodebooks.fit", "progress", progress, or_none(callback()))
        sizes = self.sizes()
        array = check_matrix(Y, "ProductCodebooks", learn=True).astype(np.float32, copy=False)
        if start is not None:
            start = _as_codebooks(start, "ProductCodebooks.fit: start")
            expected = [(size, array.shape[1] // self.n_subspaces) for size in sizes]
            if [book.shape for book in start] != expected:
                raise InputError(
                    f"ProductCodebooks.fit: start has shapes {[book.shape for book in start]}; "
                    f"they must be {expected}"
                )
        self._remember_names(names_of(Y))
        return train_codebooks(self, array, start=start, progress=progress)

    @classmethod
    def from_codebooks(cls, codebooks: list[Float32], **params: Any) -> ProductCodebooks:
        """Make an estimator from trained codebooks: L arrays (K_l, dsub) with the same dsub.

        Raises
        ------
        InputError, NonFiniteError, RangeError
            If they are not such arrays, of finite numbers, or a parameter is unknown or unusable.
        """
        books = _as_codebooks(codebooks, "ProductCodebooks.from_codebooks: codebooks")
        sizes = [len(codebook) for codebook in books]
        for name in ("n_subspaces", "n_codewords"):
            if name in params:
                raise InputError(f"the codebooks determine {name}; leave it out")
        self = cls(len(sizes), sizes[0] if len(set(sizes)) == 1 else sizes).set_params(**params)
        self._check_params()
        self.codebooks_ = books
        widths = {codebook.shape[1] for codebook in self.codebooks_}
        if len(widths) != 1:
            raise InputError(f"codebooks of different widths {sorted(widths)}; all need one")
        self.unused_codewords_ = np.zeros(len(sizes), dtype=np.int64)
        self.n_features_in_ = len(sizes) * widths.pop()
        return self

    # Use.

    def encode(self, Y: Any) -> Codes:
        """Nearest codeword in every subspace: (n, L), in the smallest unsigned dtype."""
        self._check_fitted()
        self._check_names(names_of(Y))
        array = check_matrix(Y, "ProductCodebooks", width=self.n_features_in_)
        codes = np.empty(
            (len(array), len(self.codebooks_)), dtype=code_dtype(max(map(len, self.codebooks_)))
        )

        reduced = [distinct(book) for book in self.codebooks_]
        encode = encoder([book for book, _ in reduced])

        def encode_rows(part: slice) -> None:
            encode(array[part], codes[part])
            for level, (_, positions) in enumerate(reduced):
                if positions is not None:
                    codes[part, level] = positions[codes[part, level]]

        width = self.codebooks_[0].shape[1]
        for _ in parallel_map(encode_rows, pieces(len(array), width)):
            pass
        return codes

    def decode(self, codes: Any) -> Float32:
        """Concatenated codewords of `codes`, shape (n, L): (n, L * dsub).

        Raises
        ------
        InputError
            If the shape is wrong, or a code is outside its codebook.
        """
        self._check_fitted()
        array = check_codes(codes, [len(codebook) for codebook in self.codebooks_])
        parts = [codebook[array[:, level]] for level, codebook in enumerate(self.codebooks_)]
        return np.concatenate(parts, axis=1)


def train_codebooks(
    codebooks: ProductCodebooks,
    rows: Float32,
    *,
    start: list[Float32] | None = None,
    even: bool = False,
    progress: Progress | None = None,
) -> ProductCodebooks:
    """Fit `codebooks` to `rows` that were checked: finite float32, of any size; return them.

    `even` splits codewords with many vectors on the way: see `dqindex.quantizer.shares`.
    """
    report = progress or no_progress
    sizes, levels = codebooks.sizes(), codebooks.n_subspaces
    check_share(codebooks.max_share, sizes)
    n, width = rows.shape
    if width % levels:
        raise InputError(
            f"{levels} subspaces do not divide width {width}; DQTransform pads, or choose a divisor"
        )
    most = codebooks.training_rows()
    if n > most:
        rng = np.random.default_rng(codebooks.seed)
        rows = rows[np.sort(rng.choice(n, most, replace=False))]
    trained = parallel_map(
        lambda level: _train_one(
            codebooks,
            _part(rows, level, width // levels),
            level,
            sizes[level],
            None if start is None else start[level],
            even,
        ),
        range(levels),
    )
    codebooks.codebooks_, unused, short = [], [], 0
    for codebook, idle, spare in trained:
        codebooks.codebooks_.append(codebook)
        unused.append(idle)
        short += spare > 0
        report("train codebooks", len(codebooks.codebooks_), levels)
    codebooks.unused_codewords_ = np.array(unused, dtype=np.int64)
    codebooks.n_features_in_ = width
    idle = int(codebooks.unused_codewords_.sum())
    if short:
        warn(
            f"{short} of {levels} subspaces have fewer distinct training vectors ({n} rows in all) "
            f"than codewords; {idle} codewords are unused. Train on more vectors or ask for fewer "
            "codewords"
        )
    elif idle:
        log.info("%d codewords are unused", idle)
    return codebooks


def _train_one(
    settings: ProductCodebooks,
    part: Float32,
    level: int,
    k: int,
    start: Float32 | None,
    even: bool,
) -> tuple[Float32, int, int]:
    """Codebook of one subspace, how many of its codewords are unused, and how many are spare."""
    codebook, spare = train_kmeans(
        part,
        k,
        n_iter=settings.n_iter,
        n_redo=settings.n_redo,
        init=settings.init,
        seed=settings.seed + level,
        parallel=settings.n_subspaces == 1,
        start=start,
        even=even,
        max_share=settings.max_share,
    )
    used = np.unique(nearest(part, codebook)[0])
    return codebook, k - len(used), spare


def _as_codebooks(codebooks: Any, owner: str) -> list[Float32]:
    """Matrices of finite float32, one a subspace."""
    check(owner, "it", codebooks, sequence())
    return [np.ascontiguousarray(check_matrix(one, owner), dtype=np.float32) for one in codebooks]


def _part(array: Matrix, level: int, size: int) -> Float32:
    return np.ascontiguousarray(array[:, level * size : (level + 1) * size], dtype=np.float32)
