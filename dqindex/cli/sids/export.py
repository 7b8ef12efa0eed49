"""``dqindex sids export``."""

from __future__ import annotations

from typing import Any

import click

from dqindex.cli import options
from dqindex.cli.sids import loading
from dqindex.cli.terminal import say
from dqindex.sids.formats import WITHOUT_ITEMS, WRITTEN_ONLY, ids_file, not_kept
from dqindex.sids.vocabulary import LC_REC
from dqindex.storage.outputs import check_output

# Of the options below: how the file is written. The others say how MAP is read.
WRITTEN = ("start", "merged", "out_token", "out_begin", "out_end", "out_id", "out_codes")


@click.command("export")
@click.argument("map_path", metavar="MAP", type=options.PATH)
@click.option(
    "-o", "--output", required=True, metavar="FILE", type=options.PATH, help="File to write."
)
@click.option(
    "--format",
    "form",
    required=True,
    type=click.Choice([*options.MAP_FORMATS, *options.WRITTEN_FORMATS]),
    help='Format to write. lc-rec: {"0": ["<a_60>", …]}, for LC-Rec, LETTER, MiniOneRec; offset: '
    "one contiguous vocabulary; npy: the codes, and the ids in a file beside them; pt: the codes, "
    "levels by items, for GRID; table: Parquet of two columns; openonerec: pid and sid; reverse, "
    "openonerec-reverse: the items of each ID; trie: which tokens may follow a prefix (.npz or "
    ".json); vocabulary: all tokens (.txt or .json), which is not read back.",
)
@click.option(
    "--token",
    "out_token",
    default=LC_REC,
    metavar="TEMPLATE",
    help="lc-rec, vocabulary: how a token is written; {code}, and {letter} (a, b, …) or {level} "
    "(0, 1, …), in other text.  [default: <{letter}_{code}>]",
)
@click.option(
    "--begin",
    "out_begin",
    default="",
    metavar="TEXT",
    help="lc-rec, vocabulary: mark before the tokens of an ID.",
)
@click.option(
    "--end",
    "out_end",
    default="",
    metavar="TEXT",
    help="lc-rec, vocabulary: mark after the tokens of an ID.",
)
@click.option("--merged", is_flag=True, help="lc-rec: one string for each item instead of a list.")
@click.option(
    "--start",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="offset, trie: the first token of the vocabulary, such as the length of a tokenizer.",
)
@click.option(
    "--out-id-column",
    "out_id",
    metavar="NAME",
    help="csv, jsonl, table, reverse, openonerec: column, or JSON field, of the ids.  [default: "
    "the format's]",
)
@click.option(
    "--out-codes-column",
    "out_codes",
    metavar="NAME",
    help="Column, or JSON field, of the tokens; csv then has one column of them, separated by "
    "commas.",
)
@click.option(
    "--from",
    "from_form",
    type=click.Choice(options.MAP_FORMATS),
    help="Format of MAP.  [default: by its name and content]",
)
@options.foreign_columns
@options.quiet
def command(
    map_path: str, output: str, form: str, from_form: str | None, quiet: bool, **settings: Any
) -> None:
    """Write MAP (in any of the formats) in the format a recommender reads."""
    written = {name: settings.pop(name) for name in WRITTEN}
    check_output(output, map_path)
    sids = loading.read_any(map_path, form=from_form, **settings)
    beside = ids_file(sids, output, form)
    if beside is not None:
        check_output(beside, map_path)
    sids.export(
        output,
        form,
        start=written["start"],
        merged=written["merged"],
        token=written["out_token"],
        begin=written["out_begin"],
        end=written["out_end"],
        id_column=written["out_id"],
        codes_column=written["out_codes"],
    )
    if form not in (*WITHOUT_ITEMS, *WRITTEN_ONLY):
        loading.tell_rows(map_path, from_form, quiet)
    say(f"{output}: {len(sids):,} items as {form}", quiet)
    if beside is not None:
        say(f"{beside}: their ids", quiet)
    lost = not_kept(sids, form)
    if lost is not None:
        say(f"warning: {lost}", quiet)
    if form in ("offset", "trie", "vocabulary") and sids.sizes_guessed:
        say(
            "warning: the sizes of the levels are the largest codes plus one; give --code-sizes",
            quiet,
        )
