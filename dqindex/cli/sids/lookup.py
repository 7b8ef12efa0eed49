"""``dqindex sids lookup``."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

import click
import pyarrow as pa

from dqindex.cli import options
from dqindex.cli.sids import loading
from dqindex.cli.terminal import say
from dqindex.sids.lookup import find, rows_of
from dqindex.sids.map import SidMap
from dqindex.sids.readers import WHOLE_NUMBER


@click.command("lookup")
@click.argument("map_path", metavar="MAP", type=options.PATH)
@click.argument("tokens", nargs=-1, metavar="[TOKENS]...")
@click.option(
    "--item",
    "items",
    multiple=True,
    metavar="ID",
    help="Look for the tokens of this item; may be given several times.",
)
@options.foreign
@options.compose(options.quiet, options.as_json)
def command(
    map_path: str,
    tokens: tuple[str, ...],
    items: tuple[str, ...],
    quiet: bool,
    as_json: bool,
    **foreign: Any,
) -> None:
    """Find the items of MAP, own or foreign, by their TOKENS, or tokens by --item.

    TOKENS are those of one ID (12 7 255 3), or of several, each between commas (12,7,255,3
    0,1,2,3). Prints a line for every item: its tokens, a tab, its id; with --json a line for every
    ID or item that was asked for. Items and IDs that are not in MAP are listed on stderr, and the
    exit code is then 1.
    """
    tuples = _tuples(tokens)
    if not tuples and not items:
        raise click.UsageError("give the tokens of an ID, or --item")
    sids = loading.read_any(map_path, **foreign)
    loading.tell_rows(map_path, foreign["form"], quiet)
    found = [*_by_tokens(sids, tuples), *_by_item(sids, items)]
    for record in found:
        if as_json:
            click.echo(json.dumps(record, ensure_ascii=False))
        for line in [] if as_json else _lines(record):
            click.echo(line)
        if not _is_there(record):
            say(f"{_asked(record)}: no such item", quiet)
    if not all(map(_is_there, found)):
        sys.exit(1)


def _tuples(words: tuple[str, ...]) -> list[list[int]]:
    """The tokens of each ID: of one, a word each; or of one a word, between commas."""
    several = any("," in word for word in words)
    tuples = [word.split(",") for word in words] if several else [list(words)] if words else []
    for token in (token for one in tuples for token in one):
        if not re.fullmatch(r"[0-9]{1,18}", token):
            raise click.BadParameter(f"{token!r} is not a token: a whole number of at least 0")
    return [[int(token) for token in one] for one in tuples]


def _by_tokens(sids: SidMap, tuples: list[list[int]]) -> list[dict[str, Any]]:
    for one in tuples:
        if len(one) != len(sids.sizes):
            raise click.UsageError(
                f"{_spaced(one)} has {len(one)} tokens, the IDs of the map {len(sids.sizes)}"
            )
    items = find(sids, tuples).items.to_pylist()
    return [{"codes": one, "items": names} for one, names in zip(tuples, items, strict=True)]


def _by_item(sids: SidMap, items: tuple[str, ...]) -> list[dict[str, Any]]:
    kind = sids.item_ids.type
    ids = [_id(word, kind) for word in items]
    rows = iter(rows_of(sids, pa.array([one for one in ids if one is not None], kind)).tolist())
    found = []
    for word, one in zip(items, ids, strict=True):
        row = -1 if one is None else next(rows)
        codes = sids.codes[row].tolist() if row >= 0 else None
        found.append({"item": word if one is None else one, "codes": codes})
    return found


def _id(word: str, kind: pa.DataType) -> int | str | None:
    """An id of the map's type; None if it cannot be one."""
    if not pa.types.is_integer(kind):
        return word
    if not WHOLE_NUMBER.fullmatch(word):
        return None
    try:
        return int(pa.scalar(int(word), kind).as_py())
    except (pa.ArrowException, OverflowError):
        return None


def _is_there(record: dict[str, Any]) -> bool:
    return bool(record["codes"] is not None if "item" in record else record["items"])


def _asked(record: dict[str, Any]) -> str:
    if "item" not in record:
        return _spaced(record["codes"])
    item = str(record["item"])
    return f"item {item}" if item.strip() else f"item {item!r}"


def _lines(record: dict[str, Any]) -> list[str]:
    """Tokens, a tab, and the item: one line each."""
    names = [record["item"]] if "item" in record else record["items"]
    return [f"{_spaced(record['codes'])}\t{name}" for name in names if _is_there(record)]


def _spaced(codes: list[int]) -> str:
    return " ".join(map(str, codes))
