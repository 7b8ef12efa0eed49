"""Damage to files, by a seed: of bytes, of JSON, and of what stands in a file's place."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

Mutant = tuple[str, bytes]
# What a field is replaced with.
ODD_NUMBERS = (-1, 0, 1, 3, 2**31, 10**30, 0.5, 1e308, float("nan"))
ODD_OTHERS: tuple[Any, ...] = (None, True, "", "x", "../x", [], [0], [[1]], ["x"], {}, {"x": 1})
ODD: tuple[Any, ...] = (*ODD_NUMBERS, *ODD_OTHERS)


def damaged(content: bytes, rounds: int, seed: int = 0) -> Iterator[Mutant]:
    """Random damage to `content`, `rounds` of each kind, and its extremes."""
    rng = np.random.default_rng(seed)
    size = len(content)
    yield "empty", b""
    yield "one byte", content[:1]
    yield "last byte cut", content[:-1]
    yield "a byte more", content + b"\0"
    yield "a line more", content + b"\n"
    yield "twice", content + content
    yield "zeros of its size", bytes(size)
    for _ in range(rounds):
        for _ in range(3):
            place, bit = int(rng.integers(size)), int(rng.integers(8))
            flipped = bytearray(content)
            flipped[place] ^= 1 << bit
            yield f"bit {bit} of byte {place} flipped", bytes(flipped)
        cut = int(rng.integers(size))
        yield f"cut to {cut} bytes", content[:cut]
        start = int(rng.integers(size))
        # Mostly short, now and then a good part of the file.
        end = min(size, start + int(2 ** rng.uniform(0, np.log2(size))))
        with_what = {
            "zeros": bytes(end - start),
            "ones": b"\xff" * (end - start),
            "noise": rng.bytes(end - start),
            "nothing": b"",
            "itself twice": content[start:end] * 2,
        }
        for word, filling in with_what.items():
            yield f"bytes {start} to {end} are {word}", content[:start] + filling + content[end:]
        other = int(rng.integers(size))
        low, high = min(start, other), max(start, other)
        yield (
            f"halves swapped at {low} and {high}",
            content[:low] + content[high:] + content[low:high],
        )


def places(record: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every field in a JSON value; of a list, the first two items and the last."""
    if path:
        yield path
    if isinstance(record, dict):
        for name in record:
            yield from places(record[name], (*path, name))
    elif isinstance(record, list):
        for place in sorted({0, 1, len(record) - 1} & set(range(len(record)))):
            yield from places(record[place], (*path, place))


def edited(record: Any, every: int = 1) -> Iterator[tuple[str, Any]]:
    """`record` with one field removed, doubled in a list, or odd, for each field; each `every`-th.

    Fields are never left out, only odd values: each field is removed, and meets its share of them.
    """
    turn = 0
    for path in places(record):
        name = ".".join(map(str, path))
        yield f"{name} removed", _with(record, path, _remove)
        old = _get(record, path)
        for value in ODD:
            turn += 1
            if turn % every == 0 and not _same(value, old):
                yield f"{name} = {value!r}", _with(record, path, _setter(value))
    for value in ODD:
        if not isinstance(value, dict):
            yield f"all of it = {value!r}", value
    if isinstance(record, dict):
        yield "a field more", {**record, "surplus": 1}


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and one == other


def _get(record: Any, path: tuple[Any, ...]) -> Any:
    for part in path:
        record = record[part]
    return record


def _with(record: Any, path: tuple[Any, ...], change: Callable[[Any, Any], None]) -> Any:
    changed = copy.deepcopy(record)
    change(_get(changed, path[:-1]), path[-1])
    return changed


def _remove(parent: Any, name: Any) -> None:
    del parent[name]


def _setter(value: Any) -> Callable[[Any, Any], None]:
    def set_it(parent: Any, name: Any) -> None:
        parent[name] = value

    return set_it


def safetensors_header(content: bytes) -> tuple[dict[str, Any], bytes]:
    """The header of a safetensors file, and the bytes of its tensors."""
    size = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def safetensors_file(header: Any, tensors: bytes) -> bytes:
    """A safetensors file of this header."""
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + tensors


def edited_safetensors(content: bytes, every: int) -> Iterator[Mutant]:
    """A file of ours with each field of its record edited, and each of its tensors' places."""
    header, tensors = safetensors_header(content)
    record = json.loads(header["__metadata__"]["dqindex"])
    for what, one in edited(record, every):
        metadata = {"__metadata__": {"dqindex": json.dumps(one)}}
        yield f"record: {what}", safetensors_file({**header, **metadata}, tensors)
    for what, one in edited(header, every):
        yield f"header: {what}", safetensors_file(one, tensors)


def stand_ins(path: Path) -> Iterator[str]:
    """Put what is no regular file at `path`, one thing after another; at the end nothing is there.

    A fifo without a writer blocks whoever opens it: the alarm finds those.
    """
    path.unlink()
    yield "nothing"
    path.mkdir()
    yield "a folder"
    path.rmdir()
    os.mkfifo(path)
    yield "a fifo"
    path.unlink()
    path.symlink_to("/dev/zero")
    yield "a link to /dev/zero"
    path.unlink()
    path.symlink_to(path.name)
    yield "a link to itself"
    path.unlink()
