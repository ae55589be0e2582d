"""Reading benchmarks/results/: the newest record for each place, checked to be one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Record = dict[str, Any]
QUIET = 0.05  # the share of the processor that other programs may take


def newest(folder: Path, check: Callable[[Record], object]) -> dict[str, Record]:
    """By place ("cpu" first, then "cuda"), the latest record in `folder` that was no quick try.

    ValueError naming a file that is no such record, or on which `check` fails.
    """
    found: dict[str, Record] = {}
    for file in sorted(folder.glob("*.json")):
        try:
            one = json.loads(file.read_bytes())
            check(one)
            place, quick = one["place"], one["quick"]
            if not quick and one["date"] >= found.get(place, one)["date"]:
                found[place] = one
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{file}: no such record: {error!r}") from error
    return dict(sorted(found.items()))


def taken_on(one: Record) -> str:
    """The device, the commit and the day, in words."""
    changed = ", with changes" if one["dirty"] else ""
    where = one["device"]
    if one["place"] == "cpu":
        where += f", {one['threads']} threads"
    return f"{where}; commit {one['commit'][:10]}{changed}, {one['date'][:10]}{_disturbed(one)}"


def _disturbed(one: Record) -> str:
    parts = [one, *one.get("workloads", {}).values()]
    most = max((part.get("others_share") or 0.0 for part in parts), default=0.0)
    return f"; not quiet, other programs took up to {most:.0%} of the processor" * (most > QUIET)
