"""`DQModel`: transform and codebooks, behind coarse levels where asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np

from dqindex._parameters import (
    boolean,
    callback,
    check,
    checked,
    instance,
    integer,
    integers,
    iterable,
    or_none,
    path,
    sequence,
    text,
)
from dqindex._types import Codes, Float32, Float64, Matrix, Progress, no_progress
from dqindex.errors import InputError
from dqindex.parallel.pieces import cut
from dqindex.parallel.threads import parallel_map
from dqindex.quantizer.beam import BeamSearch
from dqindex.quantizer.codebooks import ProductCodebooks, train_codebooks
from dqindex.quantizer.encoding import code_dtype, encoder
from dqindex.quantizer.estimator import Estimator
from dqindex.quantizer.feature_names import names_of
from dqindex.quantizer.joint import Atoms, beam_codes, train_jointly
from dqindex.quantizer.kmeans import train_kmeans
from dqindex.quantizer.model_file import FORMAT, ModelParts, pack, unpack
from dqindex.quantizer.nearest import nearest, nearest_in_pieces
from dqindex.quantizer.polish import polish
from dqindex.quantizer.transform import DQTransform, learn_axes, lift, project
from dqindex.storage.files import atomic_file
from dqindex.storage.records import Record
from dqindex.storage.tensors import Tensors, load_tensors, tensors_sha256, unpack_tensors
from dqindex.vectors import open_vectors
from dqindex.vectors.extent import check_longest, row_norms
from dqindex.vectors.matrix import check_matrix, check_width

Part = TypeVar("Part", DQTransform, ProductCodebooks)


# Joint training looks at no fewer prefixes than this, whatever the beam of encoding.
LEAST_BEAM = 8


class Losses(NamedTuple):
    """Per-vector losses, each (n,) float64, in squared units of the vectors.

    Attributes
    ----------
    reconstruction : (n,) float64
        L_R = ‖ẑ - z‖², computed in the original space.
    codebook : (n,) float64
        L_C = Σ_l ‖x_l - r_l‖², computed in the subspaces.
    dropped : (n,) float64
        Energy of z - z̄ in directions that the transform drops; L_R = L_C + dropped.
    """

    reconstruction: Float64
    codebook: Float64
    dropped: Float64


class DQModel(Estimator):
    """The DQ-VAE of arXiv 2508.11194 as product quantisation on balanced principal axes.

    Parameters
    ----------
    n_subspaces : int, default 8
        L, tokens of the transform's part.
    n_codewords : int or list of L ints, default 256
        Codewords of each subspace.
    coarse : sequence of ints, default ()
        Sizes of residual k-means levels in front: the first token is then a category, and the
        transform and codebooks work on what these levels leave over.
    n_components, balance, center
        As in `DQTransform`.
    polish : int, default 0
        Rounds of training all parts together, at most: with coarse levels, beam search and least
        squares in turn (`dqindex.quantizer.joint`); without, OPQ's rounds from the DQ start
        (`dqindex.quantizer.polish`).
    beam : int, default 1
        With coarse levels: prefixes that encoding keeps after each (`dqindex.quantizer.beam`).
        With 1, each token is chosen before the next is looked at.
    seed, n_iter, n_redo, init, max_points_per_codeword
        As in `ProductCodebooks`; `seed` also draws the training sample.

    Attributes
    ----------
    transform_ : DQTransform
    codebooks_ : ProductCodebooks
    coarse_ : list of arrays (K, d) float32
        Centroids of each coarse level.
    n_features_in_ : int
        d.
    feature_names_in_ : (d,) object array
        Names of the columns, where a frame with names was learned from. A frame with others, or in
        another order, is then refused.

    Examples
    --------
    >>> import numpy as np
    >>> Z = np.random.default_rng(0).normal(size=(3000, 10)).astype(np.float32)
    >>> model = DQModel(n_subspaces=4, n_codewords=16).fit(Z)
    >>> codes = model.encode(Z)
    >>> codes.shape, codes.dtype
    ((3000, 4), dtype('uint8'))
    >>> losses = model.losses(Z)
    >>> bool(np.allclose(losses.reconstruction, losses.codebook))
    True
    """

    _fitted: ClassVar[str] = "codebooks_"
    _parameters: ClassVar = {
        **DQTransform._parameters,
        **ProductCodebooks._parameters,
        "coarse": integers(1),
        "polish": integer(0),
        "beam": integer(1),
    }

    transform_: DQTransform
    codebooks_: ProductCodebooks
    coarse_: list[Float32]
    n_features_in_: int

    def __init__(
        self,
        n_subspaces: int = 8,
        n_codewords: int | list[int] = 256,
        *,
        coarse: Sequence[int] = (),
        polish: int = 0,
        beam: int = 1,
        n_components: int | None = None,
        balance: str = "variance",
        center: bool = True,
        seed: int = 0,
        n_iter: int = 16,
        n_redo: int = 1,
        init: str = "k-means++",
        max_points_per_codeword: int = 256,
    ) -> None:
        self.n_subspaces = n_subspaces
        self.n_codewords = n_codewords
        self.coarse = coarse
        self.polish = polish
        self.beam = beam
        self.n_components = n_components
        self.balance = balance
        self.center = center
        self.seed = seed
        self.n_iter = n_iter
        self.n_redo = n_redo
        self.init = init
        self.max_points_per_codeword = max_points_per_codeword

    # Learning.

    def _part(self, kind: type[Part]) -> Part:
        """An unfitted part with this model's settings."""
        return kind(**{name: getattr(self, name) for name in kind.parameter_names()})

    def codebook_sizes(self) -> list[int]:
        """Codewords of each subspace, as asked for."""
        return self._part(ProductCodebooks).sizes()

    def training_rows(self, d: int) -> int:
        """Size of the sample that `fit` draws: enough for every codebook and for the covariance."""
        check("DQModel.training_rows", "d", d, integer(1))
        largest = max([*self.codebook_sizes(), *self.coarse])
        return max(self.max_points_per_codeword * largest, 100 * d)

    def fit(self, X: Any, y: Any = None, *, progress: Progress | None = None) -> DQModel:
        """Learn everything from a uniform sample of `X` and return self.

        Parameters
        ----------
        X : array (n, d), path, or VectorSource
        progress : callable, optional
            Called with ("train", tokens done, tokens): coarse levels, then subspaces.

        Raises
        ------
        InputError, NonFiniteError
            If `X` is not a finite, non-empty matrix.
        """
        self._check_params()
        check("DQModel.fit", "progress", progress, or_none(callback()))
        report = progress or no_progress
        source = open_vectors(X)
        self._remember_names(names_of(X))
        tokens = len(self.coarse) + self.n_subspaces
        rows = source.sample(self.training_rows(source.d), seed=self.seed)
        check_longest(float(row_norms(rows).max()), source.name)
        sample: Matrix = rows
        self.coarse_ = []
        for level, size in enumerate(self.coarse):
            centroids, _ = train_kmeans(
                sample.astype(np.float32, copy=False),
                size,
                n_iter=self.n_iter,
                n_redo=self.n_redo,
                init=self.init,
                seed=self.seed + 1000 + level,
            )
            sample = sample - centroids[nearest_in_pieces(sample, centroids)[0]]
            self.coarse_.append(centroids)
            report("train", level + 1, tokens)
        # What coarse levels leave over may be of any size: the vectors themselves were checked.
        self.transform_ = learn_axes(self._part(DQTransform), sample)
        projected = self.transform_.projected(sample)
        self.codebooks_ = train_codebooks(
            self._part(ProductCodebooks),
            projected,
            progress=lambda what, done, _: report(what, len(self.coarse) + done, tokens),
        )
        if self.polish:
            self._train_together(rows, projected, report)
        self.n_features_in_ = source.d
        return self

    def _train_together(self, rows: Float32, projected: Matrix, report: Progress) -> None:
        """Better parts than those that were learned one after another."""
        books = self.codebooks_
        if not self.coarse_:
            found = polish(self.transform_, rows, books.sizes(), rounds=self.polish, seed=self.seed)
            self.transform_ = found.transform
            train_codebooks(books, self.transform_.projected(rows), start=found.codebooks)
            return
        width = self.joint_width()
        atoms = train_jointly(
            rows,
            self.transform_,
            Atoms(self.coarse_, books.codebooks_),
            rounds=self.polish,
            width=width,
            progress=report,
        )
        self.coarse_, books.codebooks_ = atoms
        tokens = beam_codes(rows, self.transform_, atoms, width)[:, len(self.coarse_) :]
        books.unused_codewords_ = np.array(
            [
                len(book) - len(np.unique(column))
                for book, column in zip(books.codebooks_, tokens.T, strict=True)
            ],
            dtype=np.int64,
        )

    def joint_width(self) -> int:
        """Prefixes that joint training keeps."""
        return max(self.beam, LEAST_BEAM)

    @classmethod
    def rq(cls, n_levels: int = 4, n_codewords: int | list[int] = 256, **settings: Any) -> DQModel:
        """Residual quantisation: each of `n_levels` tokens codes what those before leave over.

        The far end of the family: coarse levels, and one subspace, which is the whole space.

        Parameters
        ----------
        n_levels : int
            Tokens of an item.
        n_codewords : int or list of n_levels ints
        **settings
            Other parameters of `DQModel`.

        Raises
        ------
        InputError
            If `n_codewords` lists another number of sizes.
        """
        sizes = ProductCodebooks(n_levels, n_codewords).sizes()
        return cls(1, sizes[-1], coarse=tuple(sizes[:-1]), **settings)

    @classmethod
    def from_parts(
        cls,
        transform: DQTransform,
        codebooks: ProductCodebooks,
        coarse: Sequence[Float32] = (),
        **settings: Any,
    ) -> DQModel:
        """A model of parts that were fitted elsewhere, with other parameters as `settings`."""
        owner = "DQModel.from_parts"
        check(owner, "transform", transform, instance(DQTransform))
        check(owner, "codebooks", codebooks, instance(ProductCodebooks))
        transform._check_fitted()
        codebooks._check_fitted()
        d, width = transform.n_features_in_, len(transform.components_)
        parts = (transform.n_subspaces, width), (codebooks.n_subspaces, codebooks.n_features_in_)
        if parts[0] != parts[1]:
            raise InputError(
                f"{owner}: the transform has {parts[0][0]} subspaces of {width} axes, the "
                f"codebooks have {parts[1][0]} of {parts[1][1]}; they must be of one kind"
            )
        check(owner, "coarse", coarse, sequence(least=0))
        levels = [check_matrix(level, f"{owner}: coarse", width=d) for level in coarse]
        self = cls(
            **{**transform.get_params(), **codebooks.get_params()},
            coarse=tuple(len(level) for level in levels),
        ).set_params(**settings)
        self._check_params()
        self.transform_, self.codebooks_ = transform, codebooks
        self.coarse_ = [np.ascontiguousarray(level, dtype=np.float32) for level in levels]
        self.n_features_in_ = transform.n_features_in_
        return self

    # Use.

    def code_sizes(self) -> list[int]:
        """Number of codes of every token: coarse levels, then subspaces."""
        self._check_fitted()
        return [len(level) for level in [*self.coarse_, *self.codebooks_.codebooks_]]

    def _rows(self, X: Any) -> Matrix:
        """`X` as a matrix that was checked; of a frame, the columns that `fit` reads."""
        self._check_fitted()
        self._check_names(names_of(X))
        return check_matrix(X, "DQModel", width=self.n_features_in_)

    def encode(self, X: Any) -> Codes:
        """Tokens of `X`: (n, levels + L) in the smallest unsigned dtype that fits."""
        return self._codes(self._rows(X))

    def _codes(self, array: Matrix) -> Codes:
        return np.concatenate([codes for codes, _ in self.encode_blocks([array])])

    def encode_blocks(
        self, blocks: Iterable[Matrix], *, distortion: bool = False
    ) -> Iterator[tuple[Codes, Float64 | None]]:
        """Tokens of the rows of all `blocks`, part by part in order, while the next are read.

        Parameters
        ----------
        blocks : iterable of (b, d) arrays
            Finite, as a `VectorSource` gives them.
        distortion : bool
            Give ‖ẑ - z‖² of every row as well, (n,) float64.
        """
        self._check_fitted()
        check("DQModel.encode_blocks", "distortion", distortion, boolean())
        check("DQModel.encode_blocks", "blocks", blocks, iterable())
        width = self.codebooks_.codebooks_[0].shape[1]
        coder = _Coder(self, distortion)
        return parallel_map(coder, cut(map(_matrix, blocks), width))

    def decode(self, codes: Any) -> Float32:
        """Reconstruction ẑ of `codes`: (n, d) float32.

        Raises
        ------
        InputError
            If the shape is wrong, or a code is outside its codebook.
        """
        self._check_fitted()
        array = np.asarray(codes)
        levels = len(self.coarse_)
        if array.ndim != 2 or array.shape[1] != levels + self.n_subspaces:
            raise InputError(
                f"codes of shape {array.shape}; give shape (n, {levels + self.n_subspaces})"
            )
        out = self.transform_.inverse_transform(self.codebooks_.decode(array[:, levels:]))
        for level, centroids in enumerate(self.coarse_):
            column = array[:, level]
            wrong = np.flatnonzero((column < 0) | (column >= len(centroids)))
            if wrong.size:
                raise InputError(
                    f"code {column[wrong[0]]} in row {wrong[0]}, coarse level {level}: it has "
                    f"{len(centroids)} centroids"
                )
            out = out + centroids[column]
        return out.astype(np.float32, copy=False)

    def losses(self, X: Any) -> Losses:
        """L_R, L_C and the dropped energy of every row of `X`, in float64."""
        array = self._rows(X).astype(np.float64)
        codes = self._codes(array)
        residual = array
        for level, centroids in enumerate(self.coarse_):
            residual = residual - centroids[codes[:, level]]
        projected = self.transform_.projected(residual)
        codewords = self.codebooks_.decode(codes[:, len(self.coarse_) :]).astype(np.float64)
        back = self.transform_.inverse_transform(codewords)
        kept = self.transform_.inverse_transform(projected)
        return Losses(
            reconstruction=((back - residual) ** 2).sum(axis=1),
            codebook=((projected - codewords) ** 2).sum(axis=1),
            dropped=((residual - kept) ** 2).sum(axis=1),
        )

    # Disk.

    def _parts(self) -> ModelParts:
        return ModelParts(self.get_params(), self.transform_, self.codebooks_, self.coarse_)

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the learned tensors: two models with one fingerprint code alike."""
        self._check_fitted()
        tensors = self._parts().tensors()
        if self.beam > 1 and self.coarse_:
            # The same atoms give other codes by another beam.
            tensors["beam"] = np.array([self.beam], dtype=np.int64)
        return tensors_sha256(tensors)

    def to_bytes(self) -> bytes:
        """The content of the file that `save` writes."""
        self._check_fitted()
        return pack(self._parts())

    @checked(path=path())
    def save(self, path: str | Path) -> None:
        """Write one ``.safetensors`` file, whole or not at all.

        Raises
        ------
        StorageError
            If it cannot be written; a file that stood there is untouched.
        """
        content = self.to_bytes()
        with atomic_file(path) as file:
            file.write(content)

    @classmethod
    @checked(path=path())
    def load(cls, path: str | Path) -> DQModel:
        """Read a model, and verify its checksum before anything of it is used.

        Raises
        ------
        StorageError, FileFormatError, IntegrityError
            If the file is missing, not a model of a known format, or damaged.
        """
        return cls._unpack(*load_tensors(path, FORMAT), str(path))

    @classmethod
    @checked(data=instance(bytes), name=text())
    def from_bytes(cls, data: bytes, name: str) -> DQModel:
        """Read a model from what `to_bytes` gave; messages call it `name`."""
        return cls._unpack(*unpack_tensors(data, name, FORMAT), name)

    @classmethod
    def _unpack(cls, tensors: Tensors, record: Record, name: str) -> DQModel:
        parts = unpack(tensors, record, cls._parameters, name)
        self = cls(**parts.settings)
        self.transform_, self.codebooks_, self.coarse_ = parts[1:]
        self.n_features_in_ = self.transform_.n_features_in_
        return self


def _matrix(block: Any) -> Matrix:
    """A block as it must be; what its values are was checked where it was read."""
    if not isinstance(block, np.ndarray) or block.ndim != 2 or block.dtype.kind != "f":
        raise InputError("DQModel.encode_blocks: a block is no (b, d) array of floats")
    return block


class _Coder:
    """Encodes rows on its thread."""

    def __init__(self, model: DQModel, distortion: bool) -> None:
        self._transform, self._books = model.transform_, model.codebooks_.codebooks_
        self._coarse, self._distortion = model.coarse_, distortion
        self._dtype = code_dtype(max(model.code_sizes()))
        self._encode = encoder(self._books)
        self._search = (
            BeamSearch(self._coarse, self._transform, self._books, model.beam)
            if model.beam > 1 and self._coarse
            else None
        )

    def __call__(self, rows: Matrix) -> tuple[Codes, Float64 | None]:
        check_width(rows, "DQModel", self._transform.n_features_in_)
        levels = len(self._coarse)
        codes = np.empty((len(rows), levels + len(self._books)), dtype=self._dtype)
        if self._search is not None:
            codes[:] = self._search(rows)
        for level, centroids in enumerate(self._coarse):
            if self._search is None:
                codes[:, level] = nearest(rows, centroids)[0]
            rows = rows - centroids[codes[:, level]]
        projected = project(self._transform, rows)
        if self._search is None:
            self._encode(projected, codes[:, levels:])
        return codes, self._error(rows, projected, codes[:, levels:])

    def _error(self, rows: Matrix, projected: Matrix, codes: Codes) -> Float64 | None:
        if not self._distortion:
            return None
        distortion = np.zeros(len(rows))
        size = self._books[0].shape[1]
        for level, book in enumerate(self._books):
            error = np.take(book, codes[:, level], axis=0)
            error -= projected[:, level * size : (level + 1) * size]
            distortion += np.einsum("ij,ij->i", error, error)
        if self._transform.dropped_:
            lost = (rows - lift(self._transform, projected)).astype(np.float64)
            distortion += np.einsum("ij,ij->i", lost, lost)
        return distortion
