"""`DQModel`: transform and codebooks, behind coarse levels where asked for."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from dqindex._parameters import (
    boolean,
    callback,
    check,
    checked,
    instance,
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
from dqindex.places.place import Place, place
from dqindex.quantizer.blocks import learn_scale, scaled
from dqindex.quantizer.code_table import encode_table
from dqindex.quantizer.codebooks import ProductCodebooks
from dqindex.quantizer.coder import Coder
from dqindex.quantizer.encoding import check_codes, code_dtype
from dqindex.quantizer.feature_names import names_of
from dqindex.quantizer.losses import Losses, losses_of
from dqindex.quantizer.model_file import FORMAT, pack, unpack
from dqindex.quantizer.parts import Parts, learn_parts
from dqindex.quantizer.settings import ModelSettings
from dqindex.quantizer.transform import DQTransform
from dqindex.storage.files import atomic_file
from dqindex.storage.records import Record
from dqindex.storage.tensors import Tensors, load_tensors, tensors_sha256, unpack_tensors
from dqindex.vectors import open_vectors
from dqindex.vectors.extent import check_longest, row_norms
from dqindex.vectors.least import sample_of_parts
from dqindex.vectors.matrix import check_blocks, check_matrix


class DQModel(ModelSettings):
    """The DQ-VAE of arXiv 2508.11194 as product quantisation on balanced principal axes.

    Parameters
    ----------
    n_subspaces : int, default 8
        L, the number of DQ tokens.
    n_codewords : int or list of L ints, default 256
        Codewords of each subspace.
    coarse : sequence of ints, default ()
        Sizes of residual k-means levels before the DQ. The first token is then a category, and the
        transform and the codebooks encode the residual of these levels.
    n_components, balance, center
        As in `DQTransform`.
    polish : int, default 0
        Most rounds of training all parts together: with coarse levels, beam search and least
        squares in turn (`dqindex.quantizer.joint`); without, rounds of OPQ that start from DQ
        (`dqindex.quantizer.polish`).
    beam : int, default 1
        With coarse levels: the number of prefixes that encoding keeps after each level
        (`dqindex.quantizer.beam`). With 1, the encoding is greedy.
    seed, n_iter, n_redo, init, max_points_per_codeword, max_share
        As in `ProductCodebooks`; `seed` also selects the training sample.

    block_widths : sequence of ints, default ()
        Widths of the blocks of a vector, such as text and image. Each block is multiplied by a
        factor first, and `decode` divides by it.
    block_scale : "equal" or sequence of floats, default "equal"
        The factors: those that give all blocks the same variance, or one for each block.

    Attributes
    ----------
    scale_ : (d,) float64 or None
        Factor of every column, if there are blocks. All other parts, and distortions, are those of
        the scaled vectors.
    transform_ : DQTransform
    codebooks_ : ProductCodebooks
    coarse_ : list of arrays (K, d) float32
        Centroids of each coarse level.
    n_features_in_ : int
        d.
    feature_names_in_ : (d,) object array
        Names of the columns, if it was fitted on a frame. A frame with other names, or in another
        order, is then refused.

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
    transform_: DQTransform
    codebooks_: ProductCodebooks
    coarse_: list[Float32]
    scale_: Float64 | None
    n_features_in_: int

    # Learning.

    def fit(self, X: Any, y: Any = None, *, progress: Progress | None = None) -> DQModel:
        """Learn all parts from a uniform sample of `X`, and return self.

        Parameters
        ----------
        X : array (n, d), path, or VectorSource
        progress : callable, optional
            Called with ("train codebooks", tokens done, tokens): coarse levels, then subspaces.

        Raises
        ------
        InputError, NonFiniteError
            If `X` is not a finite, non-empty matrix.
        """
        self._check_params()
        check("DQModel.fit", "progress", progress, or_none(callback()))
        report = progress or no_progress
        source = open_vectors(X)
        self.check_settings(source.d)
        self._remember_names(names_of(X))
        rows = source.sample(self.training_rows(source.d), seed=self.seed)
        return self._learn(rows, source.name, report)

    def fit_parts(self, parts: Iterable[Any], *, progress: Progress | None = None) -> DQModel:
        """Learn from parts of a catalogue, cut in any way and in any order, and return self.

        The model equals the one that `fit` learns from all rows together with their ids, because a
        hash of the ids determines the sample and its order. Rows outside that sample may be missing
        from the parts.

        Parameters
        ----------
        parts : iterable
            Parts that `open_vectors` can open, with ids that are distinct over all parts.
        progress : callable, optional
            As for `fit`.

        Raises
        ------
        InputError, NonFiniteError
            If there is no part, one has no ids or another width, or the sample is not finite.

        Examples
        --------
        >>> import numpy as np
        >>> import pyarrow as pa
        >>> Z = np.random.default_rng(0).normal(size=(3000, 8))
        >>> whole = pa.table({"id": np.arange(3000), "vector": list(Z)})
        >>> parts = [whole.slice(2000), whole.slice(0, 2000)]
        >>> model = DQModel(n_subspaces=2, n_codewords=16).fit_parts(parts)
        >>> model.fingerprint == DQModel(n_subspaces=2, n_codewords=16).fit(whole).fingerprint
        True
        """
        self._check_params()
        owner = "DQModel.fit_parts"
        check(owner, "progress", progress, or_none(callback()))
        check(owner, "parts", parts, iterable())
        rows, name = sample_of_parts(parts, self.training_rows, self.seed)
        self._remember_names(None)
        return self._learn(rows, name, progress or no_progress)

    def _learn(self, rows: Float32, name: str, report: Progress) -> DQModel:
        """Learn all parts from a sample, and return self."""
        check_longest(float(row_norms(rows).max()), name)
        self.check_settings(rows.shape[1])
        scale = learn_scale(rows, self.block_widths, self.block_scale)
        parts = learn_parts(
            scaled(rows, scale),
            self._part(DQTransform),
            self._part(ProductCodebooks),
            self.coarse,
            rounds=self.polish,
            width=self.joint_width(),
            report=report,
        )
        return self._take(parts._replace(scale=scale))

    def _take(self, parts: Parts) -> DQModel:
        """Have `parts` as what was learned, and return self."""
        self.transform_, self.codebooks_, self.coarse_, self.scale_ = parts
        self.n_features_in_ = parts.transform.n_features_in_
        return self

    @classmethod
    def rq(cls, n_levels: int = 4, n_codewords: int | list[int] = 256, **settings: Any) -> DQModel:
        """Residual quantisation: each of `n_levels` tokens encodes the residual of those before it.

        This is the model with coarse levels and one subspace, which is the whole space.

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
        """Make a model from fitted parts, with other parameters as `settings`."""
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
        centroids = [np.ascontiguousarray(level, dtype=np.float32) for level in levels]
        self.check_settings(d)
        scale = None
        if len(self.block_widths):
            if isinstance(self.block_scale, str):
                raise InputError(
                    f"{owner}: block_scale is {self.block_scale!r}, which is learned by fit; give "
                    "the factors"
                )
            scale = np.repeat(np.array(self.block_scale, dtype=np.float64), self.block_widths)
        return self._take(Parts(transform, codebooks, centroids, scale))

    # Use.

    def code_sizes(self) -> list[int]:
        """Number of codes of every token: coarse levels, then subspaces."""
        self._check_fitted()
        return self._parts().code_sizes()

    def _rows(self, X: Any) -> Matrix:
        """`X` as a matrix that was checked; of a frame, the columns that `fit` reads."""
        self._check_fitted()
        self._check_names(names_of(X))
        return check_matrix(X, "DQModel", width=self.n_features_in_)

    def encode(self, X: Any) -> Codes:
        """Tokens of `X`: (n, levels + L), in the smallest unsigned dtype.

        A table, tensor or open source is read a block at a time.
        """
        self._check_fitted()
        self._check_names(names_of(X))
        n, blocks = check_blocks(X, "DQModel", self.n_features_in_)
        sizes = self.code_sizes()
        out = np.empty((n, len(sizes)), dtype=code_dtype(max(sizes)))
        done = 0
        for codes, _ in self.encode_blocks(blocks):
            out[done : done + len(codes)] = codes
            done += len(codes)
        return out

    def _codes(self, array: Matrix) -> Codes:
        return np.concatenate([codes for codes, _ in self.encode_blocks([array])])

    def encode_blocks(
        self, blocks: Iterable[Matrix], *, distortion: bool = False
    ) -> Iterator[tuple[Codes, Float64 | None]]:
        """Tokens of the rows of all `blocks`, in order, while the next blocks are read.

        Parameters
        ----------
        blocks : iterable of (b, d) arrays
            Finite, as a `VectorSource` gives them.
        distortion : bool
            Also return ‖ẑ - z‖² of every row, (n,) float64.
        """
        self._check_fitted()
        check("DQModel.encode_blocks", "distortion", distortion, boolean())
        check("DQModel.encode_blocks", "blocks", blocks, iterable())
        width = self.codebooks_.codebooks_[0].shape[1]
        coder = Coder(self._parts(), self.beam, distortion)
        return parallel_map(coder, cut(map(_matrix, blocks), width))

    @checked(vector_column=or_none(text()), id_column=or_none(text()))
    def encode_arrow(
        self, batch: Any, *, vector_column: str | None = None, id_column: str | None = None
    ) -> pa.Table:
        """Tokens of the rows of an Arrow table or batch, with their ids.

        Parameters
        ----------
        batch : pyarrow.Table, RecordBatch, or any other source that `open_vectors` opens
        vector_column, id_column : str, optional
            As in `open_vectors`.

        Returns
        -------
        pyarrow.Table
            Columns item_id (of the type of the input's ids; row numbers if it has none), codes
            (list of int32) and distortion (float32), in the order of `batch`.

        Raises
        ------
        InputError, NonFiniteError, RangeError
            If a vector is unusable; the message names its id.

        Examples
        --------
        >>> import numpy as np
        >>> import pyarrow as pa
        >>> Z = np.random.default_rng(0).normal(size=(3000, 8))
        >>> model = DQModel(n_subspaces=2, n_codewords=16).fit(Z)
        >>> model.encode_arrow(pa.table({"id": ["a", "b"], "vector": list(Z[:2])})).column_names
        ['item_id', 'codes', 'distortion']
        """
        self._check_fitted()
        return encode_table(
            batch,
            lambda blocks: self.encode_blocks(blocks, distortion=True),
            (self.n_features_in_, len(self.code_sizes())),
            vector_column,
            id_column,
        )

    def __getstate__(self) -> dict[str, Any]:
        """What a pickle holds: what was learned, without the moments that it was learned from."""
        state = self.__dict__.copy()
        if "transform_" in state:
            state["transform_"] = copy.copy(self.transform_)
            state["transform_"].__dict__.pop("_moments", None)
        return state

    def decode(self, codes: Any) -> Float32:
        """Reconstruction ẑ of `codes`: (n, d) float32.

        Raises
        ------
        InputError
            If the shape is wrong, or a code is outside its codebook.
        """
        self._check_fitted()
        array = check_codes(codes, self.code_sizes())
        levels = len(self.coarse_)
        out = self.transform_.inverse_transform(self.codebooks_.decode(array[:, levels:]))
        for level, centroids in enumerate(self.coarse_):
            out = out + centroids[array[:, level]]
        if self.scale_ is not None:
            out = out / self.scale_
        return out.astype(np.float32, copy=False)

    def losses(self, X: Any) -> Losses:
        """L_R, L_C and the dropped energy of every row of `X`, in float64."""
        array = self._rows(X).astype(np.float64)
        return losses_of(self._parts(), array, self._codes(array))

    # Disk.

    def _parts(self) -> Parts:
        return Parts(self.transform_, self.codebooks_, self.coarse_, self.scale_)

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the learned tensors: equal fingerprints mean equal codes."""
        self._check_fitted()
        tensors = self._parts().tensors()
        if self.beam > 1 and self.coarse_:
            # The same atoms give other codes by another beam.
            tensors["beam"] = np.array([self.beam], dtype=np.int64)
        return tensors_sha256(tensors)

    def to_bytes(self) -> bytes:
        """The content of the file that `save` writes."""
        self._check_fitted()
        return pack(self.get_params(), self._parts())

    @checked(path=path())
    def save(self, path: str | Place) -> None:
        """Write one ``.safetensors`` file, completely or not at all.

        Raises
        ------
        StorageError
            If it can't be written; an old file is then unchanged.
        """
        content = self.to_bytes()
        with atomic_file(path) as file:
            file.write(content)

    @classmethod
    @checked(path=path())
    def load(cls, path: str | Place) -> DQModel:
        """Read a model, and verify its checksum before it is used.

        Raises
        ------
        StorageError, FileFormatError, IntegrityError
            If the file is missing, not a model of a known format, or damaged.
        """
        return cls._unpack(*load_tensors(path, FORMAT), str(place(path)))

    @classmethod
    @checked(data=instance(bytes), name=text())
    def from_bytes(cls, data: bytes, name: str) -> DQModel:
        """Read a model from the bytes of `to_bytes`; messages call it `name`."""
        return cls._unpack(*unpack_tensors(data, name, FORMAT), name)

    @classmethod
    def _unpack(cls, tensors: Tensors, record: Record, name: str) -> DQModel:
        settings, parts = unpack(tensors, record, cls._parameters, name)
        return cls(**settings)._take(parts)


def _matrix(block: Any) -> Matrix:
    """A block as it must be; what its values are was checked where it was read."""
    if not isinstance(block, np.ndarray) or block.ndim != 2 or block.dtype.kind != "f":
        raise InputError("DQModel.encode_blocks: a block is not a (b, d) array of floats")
    return block
