"""The doors to semantic IDs: `SemanticIds`, `semantic_ids`, `read_sids`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from dqindex._parameters import (
    boolean,
    callback,
    checked,
    instance,
    integer,
    integers,
    one_of,
    or_none,
    path,
    text,
    thread_count,
    unbounded,
)
from dqindex._types import Int64, Progress, no_progress
from dqindex.parallel.threads import thread_limit
from dqindex.quantizer.family import new_model
from dqindex.quantizer.model import DQModel
from dqindex.sids import append, formats, lookup, map_file, quality, refit
from dqindex.sids.extract import extract
from dqindex.sids.lookup import Matches
from dqindex.sids.map import SidMap
from dqindex.sids.refit import Churn
from dqindex.sids.unique import MODES
from dqindex.sids.vocabulary import LC_REC
from dqindex.vectors import open_vectors


class SemanticIds(SidMap):
    """A catalogue's map of semantic IDs, and the operations on it.

    `dqindex.semantic_ids`, `dqindex.read_sids` and `SemanticIds.load` return it; its attributes are
    those of `dqindex.sids.map.SidMap`.
    """

    @classmethod
    @checked(data=instance(SidMap))
    def of(cls, data: SidMap) -> SemanticIds:
        """The same data, with the operations."""
        return cls(**{field.name: getattr(data, field.name) for field in fields(data)})

    @classmethod
    @checked(path=path(), model=or_none(instance(DQModel)))
    def load(cls, path: str | Path, model: DQModel | None = None) -> SemanticIds:
        """Read a map; with `model`, check that this model made the map.

        Raises
        ------
        StorageError, FileFormatError
            If the file is missing, unreadable, or not a map.
        IntegrityError
            If another model made the map.
        """
        found = cls.of(map_file.read_map(path))
        return found if model is None else found.attach(model)

    @checked(path=path())
    def save(self, path: str | Path) -> None:
        """Write the Parquet file, completely or not at all.

        Raises
        ------
        StorageError
        """
        map_file.write_map(self, path)

    @checked(rows=instance(slice))
    def table(self, rows: slice = slice(None)) -> pa.Table:
        """As stored: item_id, codes, base_codes, distortion, with the origin in the metadata."""
        return map_file.table_of(self, rows)

    def evaluate(
        self, vectors: Any = None, *, published: SidMap | None = None, seed: int = 0
    ) -> dict[str, Any]:
        """Figures of the map: see `dqindex.sids.quality.evaluate`."""
        return quality.evaluate(self, vectors, published=published, seed=seed)

    def find(self, tuples: Any) -> Matches:
        """The items that have each of some token tuples: see `dqindex.sids.lookup.find`."""
        return lookup.find(self, tuples)

    def rows_of(self, ids: Any) -> Int64:
        """The row of every item, or -1 if there is none: see `dqindex.sids.lookup.rows_of`."""
        return lookup.rows_of(self, ids)

    def append(
        self, vectors: Any, ids: Any = None, **settings: Any
    ) -> tuple[SemanticIds, SemanticIds]:
        """The map with new items, and one of these only: `dqindex.sids.append.append`."""
        return append.append(self, vectors, ids, **settings)

    def refit(self, vectors: Any, ids: Any = None, **settings: Any) -> Refit:
        """A map of the current catalogue: see `dqindex.sids.refit.refit`."""
        new, churn, fresh = refit.refit(self, vectors, ids, **settings)
        return Refit(SemanticIds.of(new), churn, fresh)

    def export(self, path: str | Path, form: str, **settings: Any) -> None:
        """Write another format: see `dqindex.sids.formats.export`."""
        formats.export(self, path, form, **settings)


class Refit(NamedTuple):
    """Result of `SemanticIds.refit`.

    Attributes
    ----------
    sids : SemanticIds
        The new map, with its model.
    churn : Churn
        Against the old map.
    fresh : Churn
        Of a fit from nothing on the same vectors, whose labels are unrelated.
    """

    sids: SemanticIds
    churn: Churn
    fresh: Churn


@checked(
    path=path(),
    form=or_none(text()),
    id_column=or_none(text()),
    codes_column=or_none(text()),
    code_sizes=or_none(integers(integer(1))),
    transpose=boolean(),
    token=text(),
    begin=text(),
    end=text(),
)
def read_sids(
    path: str | Path,
    form: str | None = None,
    *,
    id_column: str | None = None,
    codes_column: str | None = None,
    code_sizes: Sequence[int] | None = None,
    transpose: bool = False,
    token: str = LC_REC,
    begin: str = "",
    end: str = "",
) -> SemanticIds:
    """Read a map in any of the formats.

    Parameters
    ----------
    path : path
    form : str, optional
        One of `dqindex.sids.formats.FORMATS`; by default it is found from the file's name and
        content.
    id_column, codes_column : str, optional
        Of a foreign map: the columns, or JSON fields, of the ids and of the tokens.
    code_sizes : sequence of ints, optional
        Codebook size of each level, if the file does not have it; by default the largest code plus
        one.
    transpose : bool
        The rows of a ``.npy`` are levels, not items.
    token, begin, end : str
        For the format ``lc-rec``: how tokens are written, as `SemanticIds.export` takes them.

    Raises
    ------
    StorageError, FileFormatError, IntegrityError
        If the file is missing, damaged, or not a map in that format.
    InputError
        If a column is missing, or sizes do not fit the codes.
    """
    return SemanticIds.of(
        formats.read(
            path,
            form,
            id_column=id_column,
            codes_column=codes_column,
            code_sizes=code_sizes,
            transpose=transpose,
            token=token,
            begin=begin,
            end=end,
        )
    )


@checked(
    model=or_none(instance(DQModel)),
    unique=one_of(*MODES),
    cap=integer(1),
    keep=or_none(integer(0)),
    seed=unbounded(0),
    threads=thread_count(),
    block_rows=or_none(unbounded(1)),
    progress=or_none(callback()),
)
def semantic_ids(
    vectors: Any,
    ids: Any = None,
    *,
    method: str = "dq",
    n_subspaces: int = 8,
    n_codewords: int | list[int] = 256,
    coarse: Sequence[int] = (),
    polish: int | None = None,
    beam: int | None = None,
    model: DQModel | None = None,
    unique: str = "reassign",
    cap: int = 1,
    keep: int | None = None,
    priority: Any = None,
    max_share: float | None = None,
    block_widths: Sequence[int] = (),
    block_scale: str | Sequence[float] = "equal",
    balance: str = "variance",
    seed: int = 0,
    threads: int | None = None,
    block_rows: int | None = None,
    progress: Progress | None = None,
) -> SemanticIds:
    """Semantic IDs of a catalogue.

    Parameters
    ----------
    vectors : array (n, d), path, or VectorSource
        Read in blocks; memory is bounded by the block, the codes, and 512 MiB for the vectors of
        colliding items.
    ids : array-like of n integers or strings, optional
        The catalogue's ids; by default those of the source, or else the row numbers.
    method : {"dq", "rq"}
        ``dq``: `n_subspaces` independent tokens, after those of `coarse`. ``rq``: `n_subspaces`
        tokens, each of which encodes the residual of those before it.
    n_subspaces, n_codewords, coarse, balance, max_share, block_widths, block_scale, seed
        Parameters of the model: see `DQModel`.
    polish, beam : int, optional
        Rounds of joint training, and prefixes that encoding keeps: by default 6 and 8 if tokens
        depend on each other (``rq``, or with `coarse`), else 0 and 1.
    model : DQModel, optional
        A fitted model to use instead.
    unique : {"reassign", "none", "suffix", "cap"}
        What happens to items with the same tokens. ``reassign``: the item nearest to its codewords
        keeps them, and each of the others gets the free tuple with the least distortion.
        ``suffix``: one more token numbers them (Rajput et al., "Recommender Systems with Generative
        Retrieval", 2023). ``cap``: as ``reassign``, but `cap` items may share a tuple.
    cap : int
        For ``cap``.
    keep : int, optional
        Number of an item's first tokens that ``reassign`` and ``cap`` may not change: by default
        the residual and coarse tokens, and 0 for a plain ``dq``. If all tuples with this prefix are
        taken, an item keeps a shorter one: `SidMap.widened` counts these items.
    priority : str or array-like of n numbers, optional
        Numbers such as sales or clicks: of several items with the same tokens, the one with the
        largest number keeps them; among equals, the one nearest to its codewords. A str names a
        column of `vectors`.
    threads, block_rows
        All CPUs, and blocks of 64 MiB, by default.
    progress : callable, optional
        Called with (what, done, total).

    Returns
    -------
    SemanticIds

    Raises
    ------
    InputError
        If there are more items than tuples, ids are not distinct, or a setting is unknown; raised
        before the training.
    NonFiniteError
        If a vector is not finite; raised before the training.

    Examples
    --------
    >>> import numpy as np
    >>> Z = np.random.default_rng(0).normal(size=(3000, 8)).astype(np.float32)
    >>> sids = semantic_ids(Z, n_subspaces=4, n_codewords=16)
    >>> sids.codes.shape, sids.unique_share()
    ((3000, 4), 1.0)
    """
    source = open_vectors(vectors, ids=ids)
    if model is None:
        model = new_model(
            method,
            n_subspaces,
            n_codewords,
            coarse=coarse,
            polish=polish,
            beam=beam,
            balance=balance,
            max_share=max_share,
            block_widths=block_widths,
            block_scale=block_scale,
            seed=seed,
        )
    with thread_limit(threads):
        return SemanticIds.of(
            extract(
                source,
                model,
                unique=unique,
                cap=cap,
                keep=keep,
                priority=priority,
                block_rows=block_rows,
                report=progress or no_progress,
            )
        )
