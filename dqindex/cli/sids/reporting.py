"""What the commands that make a map say of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dqindex.cli.terminal import say

if TYPE_CHECKING:
    from dqindex.sids.map import SidMap


def summary(sids: SidMap) -> dict[str, Any]:
    """Figures of a map, for JSON."""
    return {
        "items": len(sids),
        "code_sizes": sids.sizes,
        "unique_share": sids.unique_share(),
        "distortion": float(sids.distortion.mean()),
        "keep": sids.keep,
        "widened": sids.widened(),
        "duplicates": None if sids.duplicates is None else sids.duplicates.figures(),
        "fingerprint": sids.fingerprint,
    }


def tell_duplicates(sids: SidMap, quiet: bool) -> None:
    """Say how many items share one vector, and which share it with most others."""
    found = sids.duplicates
    if found is None or not found.groups:
        return
    items, ids = found.largest[0]
    say(
        f"{found.share:.2%} of the items have the same vector as another ({found.groups:,} "
        f"vector{'s' if found.groups > 1 else ''}); the largest group has {items:,}: "
        f"{', '.join(map(str, ids))}"
        f"{', ...' if items > len(ids) else ''}",
        quiet,
    )


def tell_widened(sids: SidMap, quiet: bool) -> None:
    """Say how many items lost tokens that were to be kept, if any did."""
    widened = sids.widened()
    if widened:
        say(
            f"{widened:,} items got an ID with fewer of their first {sids.keep} tokens, as all "
            f"IDs with all of these were taken",
            quiet,
        )
