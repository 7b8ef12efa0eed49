"""A picture of the frontiers, for a README."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from dqindex.errors import InputError, MissingDependencyError
from dqindex.report.families import Record
from dqindex.storage.files import atomic_file

WIDTH, ROW_HEIGHT = 1400, 380
TIERS = (16.0, 32.0, 64.0, float("inf"))


def tiers_of(records: list[Record]) -> list[float]:
    """The sizes that at least one method stays within."""
    return [tier for tier in TIERS if any(one["bytes"]["per_vector"] <= tier for one in records)]


def write_picture(records: list[Record], output: str | Path) -> None:
    """Draw the frontiers on one thread: a row a data set, a column a size.

    Raises
    ------
    InputError
        If there is nothing to draw.
    MissingDependencyError
        If kaleido or a Chrome for it is missing.
    StorageError
        If the file can't be written.
    """
    least = min((one["threads"] for one in records), default=0)
    sets: dict[str, list[Record]] = {}
    for one in records:
        if one["threads"] == least:
            sets.setdefault(one["data"]["key"], []).append(one)
    if not sets:
        raise InputError("no results to draw; run 'dqindex bench run' first")
    if find_spec("plotly") is None:
        raise _missing(output, "there is no plotly")
    from dqindex.report.panels import panels

    figure = panels(list(sets.values()), tiers_of(records))
    figure.update_layout(template="plotly_white", margin={"l": 60, "r": 10, "t": 30, "b": 50})
    try:
        image = figure.to_image("png", width=WIDTH, height=60 + ROW_HEIGHT * len(sets), scale=1)
    except (ImportError, ValueError, RuntimeError) as error:
        raise _missing(output, " ".join(str(error).split())[:120]) from None
    with atomic_file(output) as file:
        file.write(image)


def _missing(output: str | Path, why: str) -> MissingDependencyError:
    return MissingDependencyError(
        f"{output}: a picture needs plotly, kaleido and a Chrome or Chromium ({why}); "
        "pip install 'dqindex[bench]' and install one"
    )
