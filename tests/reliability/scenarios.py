"""Every command that writes, with its inputs and what stood at its output before."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from conftest import clustered

from dqindex import DQModel, build_index, build_like, open_vectors, semantic_ids
from dqindex.sids.map_file import model_beside

TEMPORARY = ".dqindex-tmp-"
Files = dict[str, bytes]
D = 8


@dataclass(frozen=True)
class Scenario:
    """A command and its outputs.

    Attributes
    ----------
    words : tuple
        The command line; names are below a folder made by `furnish`.
    last : str
        The output that is published last: the others must be there when it is.
    long : bool
        Only among all cases.
    measured : bool
        What is written tells of times, and so differs from run to run.
    """

    words: tuple[str, ...]
    last: str
    long: bool = False
    measured: bool = False

    @property
    def name(self) -> str:
        """The command in a word or two, and where to."""
        how = ("--like",) if "--like" in self.words else ()
        words = self.words[: 2 if self.words[0] in ("sids", "bench") else 1]
        return " ".join((*words, *how, self.last))

    @property
    def in_place(self) -> bool:
        """True if the output is an input as well: the same command again then does it twice."""
        return self.words[0] in CHANGES or self.words.count(self.last) > 1


def furnish(folder: Path) -> None:
    """Inputs of all scenarios, and an old artefact at every output but ``new*``."""
    old, new = clustered(120, D, seed=1), clustered(150, D, seed=2)
    np.save(folder / "x.npy", new)
    np.save(folder / "q.npy", new[:9])
    more = clustered(20, D, seed=3)
    np.save(folder / "more.npy", more)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(more.ravel()), D)
    added_ids = [f"added {place}" for place in range(20)]
    added = pa.table({"item_id": added_ids, "vector": vectors})
    pq.write_table(added, folder / "more.parquet")
    ids = [f"item {place}" for place in range(150)]
    pq.write_table(pa.table({"item_id": ids}), folder / "x-ids.parquet")
    old_model = DQModel(2, 4).fit(old)
    old_model.save(folder / "model.safetensors")
    model = DQModel(2, 4).fit(new)
    model.save(folder / "used.safetensors")
    codes = model.encode(new)
    np.save(folder / "given.npy", codes)
    for name in ("codes.npy", "vectors.npy"):
        np.save(folder / name, old_model.encode(old))
    build_index(open_vectors(old, ids=ids[:120]), "DQ2,IVF4,PQ2x4").save(folder / "index")
    shutil.copytree(folder / "index", folder / "searched")
    build_index(old, "DQ2,IVF4,PQ2x4").save(folder / "changed")
    build_like(open_vectors(more, ids=added_ids), folder / "index").save(folder / "shard")
    (folder / "some.txt").write_text("3\n77\n")
    moved = pa.FixedSizeListArray.from_arrays(pa.array(more[:4].ravel()), D)
    pq.write_table(pa.table({"item_id": range(4), "vector": moved}), folder / "moved.parquet")
    sids = semantic_ids(new, ids, n_subspaces=3, n_codewords=8)
    rows = semantic_ids(new, n_subspaces=3, n_codewords=8)
    for name, one in (("map.parquet", sids), ("inplace.parquet", rows)):
        one.save(folder / name)
        one.model.save(model_beside(folder / name, one.fingerprint))
    extracted = semantic_ids(old, n_subspaces=2, n_codewords=16)
    for name in ("extracted.parquet", "refitted.parquet", "appended.parquet", "delta.parquet"):
        extracted.save(folder / name)
    for name in ("codes.parquet", "out.parquet", "edges.parquet", "table.parquet"):
        (folder / name).write_bytes((folder / "delta.parquet").read_bytes())
    for name in ("out.jsonl", "map.csv", "map.jsonl", "map.json", "offset.json", "reverse.jsonl"):
        (folder / name).write_text('{"an": "older file"}\n')
    np.save(folder / "tokens.npy", codes)
    np.savez(folder / "trie.npz", codes)
    (folder / "vocabulary.txt").write_text("older\n")
    (folder / "page.html").write_text("<p>An older page</p>\n")


# Changes in place of an index that counts its vectors: they can be done twice.
CHANGES = {
    "add": ("add", "changed", "more.npy", "--quiet"),
    "remove": ("remove", "changed", "some.txt", "--missing-ok", "--quiet"),
    "update": ("update", "changed", "moved.parquet", "--quiet"),
}
MERGE = ("merge", "searched", "shard", "--quiet", "-o")
LIKE = ("build", "x.npy", "--ids", "x-ids.parquet", "--like", "searched", "--quiet", "-o")
FIT = ("fit", "x.npy", "-L", "2", "-K", "4", "-o")
BUILD = ("build", "x.npy", "--spec", "DQ2,IVF4,PQ2x4", "--quiet", "-o")
TARGET = ("build", "x.npy", "--target-recall", "0.5", "--quiet", "-o")
SEARCH = ("search", "searched", "q.npy", "-k", "3", "-o")
EXTRACT = ("sids", "extract", "x.npy", "-L", "3", "-K", "8", "-o")
APPEND = ("sids", "append", "map.parquet", "more.parquet", "--delta", "delta.parquet", "-o")
ADD_ROWS = ("sids", "append", "inplace.parquet", "more.npy", "-o")
REFIT = ("sids", "refit", "inplace.parquet", "x.npy", "-o")
LINK = ("sids", "neighbors", "map.parquet", "-k", "3", "-o")
REPORT = ("bench", "report", "--sids", "map.parquet", "-o")
EXPORTS = {
    "csv": "map.csv",
    "jsonl": "map.jsonl",
    "lc-rec": "map.json",
    "offset": "offset.json",
    "reverse": "reverse.jsonl",
    "npy": "tokens.npy",
    "parquet": "out.parquet",
    "trie": "trie.npz",
    "table": "table.parquet",
    "vocabulary": "vocabulary.txt",
}


def _scenario(
    words: tuple[str, ...], output: str, long: bool = False, measured: bool = False
) -> Scenario:
    return Scenario((*words, output), output, long, measured)


SCENARIOS = [
    _scenario(FIT, "model.safetensors"),
    _scenario(FIT, "new.safetensors"),
    _scenario(("encode", "used.safetensors", "x.npy", "-o"), "codes.npy"),
    _scenario(("encode", "used.safetensors", "x.npy", "-o"), "codes.parquet"),
    _scenario(("decode", "used.safetensors", "given.npy", "-o"), "vectors.npy"),
    _scenario(BUILD, "index"),
    _scenario(BUILD, "new-index"),
    _scenario(TARGET, "index", long=True, measured=True),
    *(Scenario(words, "changed") for words in CHANGES.values()),
    _scenario(MERGE, "index"),
    _scenario(MERGE, "new-index", long=True),
    _scenario(LIKE, "index", long=True),
    _scenario(SEARCH, "out.parquet"),
    _scenario(SEARCH, "out.jsonl"),
    _scenario(EXTRACT, "extracted.parquet"),
    _scenario(APPEND, "appended.parquet"),
    _scenario(ADD_ROWS, "inplace.parquet"),
    _scenario(REFIT, "refitted.parquet"),
    _scenario(LINK, "edges.parquet"),
    *(
        _scenario(
            ("sids", "export", "map.parquet", "--format", form, "-o"), name, long=form != "csv"
        )
        for form, name in EXPORTS.items()
    ),
    _scenario(REPORT, "page.html"),
]


def files(folder: Path) -> Files:
    """All files below `folder` but temporary ones, by name."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not file.name.startswith(TEMPORARY)
    }


def leftovers(folder: Path) -> list[str]:
    """Temporary files below `folder`, and folders that hold nothing."""
    return [
        str(file.relative_to(folder))
        for file in folder.rglob("*")
        if file.name.startswith(TEMPORARY) or (file.is_dir() and not any(file.iterdir()))
    ]


def what_is_wrong(scenario: Scenario, found: Files, old: Files, new: Files) -> str | None:
    """None if every artefact is whole, old or new, and what stands beside them untouched."""
    indexes = {"index", "new-index", "changed"}
    for name in {*old, *new}:
        if name.split("/")[0] not in indexes and found.get(name) not in (
            old.get(name),
            new.get(name),
        ):
            return f"{name} is neither the old nor the new"
    for name in found:
        if name.split("/")[0] not in indexes and name not in old and name not in new:
            return f"{name} was not there and is not an output"
    for index in indexes:
        wrong = _index_is_wrong(index, found, old, new, scenario.measured)
        if wrong:
            return wrong
    if is_new(scenario, found, old, new) and not scenario.measured:
        changed = {name for name in new if new[name] != old.get(name)}
        missing = {name for name in changed if found.get(name) != new[name]}
        if missing:
            return f"{scenario.last} is new, but not {', '.join(sorted(missing))}"
    return None


def _index_is_wrong(index: str, found: Files, old: Files, new: Files, measured: bool) -> str | None:
    name = f"{index}/manifest.json"
    if found.get(name) not in (old.get(name), new.get(name)) and not measured:
        return f"{name} is neither the old nor the new"
    if name not in found:
        return f"{name} is gone" if name in old else None
    for entry in json.loads(found[name])["files"].values():
        data = found.get(f"{index}/{entry['name']}")
        if data is None or hashlib.sha256(data).hexdigest() != entry["sha256"]:
            return f"{index}/{entry['name']} is missing or damaged, though the manifest names it"
    return None


def is_new(scenario: Scenario, found: Files, old: Files, new: Files) -> bool:
    """True if the output that is published last is the new one."""
    last = scenario.last if scenario.last in new else f"{scenario.last}/manifest.json"
    if scenario.measured:
        return found.get(last) not in (None, old.get(last))
    return found.get(last) == new[last] != old.get(last)


def fresh(template: Path, folder: Path) -> Path:
    """A copy of `template` at `folder`, in place of what stood there."""
    if folder.exists():
        shutil.rmtree(folder)
    shutil.copytree(template, folder)
    return folder
