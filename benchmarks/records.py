"""Records of measurements under benchmarks/results/: what heads each, written, read and checked."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from gpunet import threads as blas_threads
from gpunet.bench import blas
from gpunet.files import write_atomically

Record = dict[str, Any]
ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
QUIET = 0.05  # the share of the processor that other programs may take


# Written


def header(
    place: str, device: str, *, threads: int | None = None, commit: str | None = None
) -> Record:
    """When, where and of which commit something is measured. commit: for a copy that git does not
    know.
    """
    now = datetime.now(timezone.utc).replace(microsecond=0)
    cores = {} if threads is None else {"threads": threads}
    about = {"date": now.isoformat(), "place": place, "device": device}
    if place == "cpu":
        about |= {"blas": blas_threads.blas(), "pinned": blas.pinned()}
    return about | cores | ({"commit": commit, "dirty": None} if commit else commit_here())


def commit_here() -> Record:
    """The commit, and whether files differ from it: None where that cannot be told."""
    if not (ROOT / ".git").exists():  # else git would answer for a repository around this folder
        return {"commit": "unknown", "dirty": None}
    head = _git("rev-parse", "HEAD")
    status = _git("status", "--porcelain", "--", ".", ":!benchmarks/results")
    return {"commit": head or "unknown", "dirty": None if status is None else bool(status)}


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def write(folder: Path, one: Record) -> Path:
    """Write a record, with its header, to a file named by it; the file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / file_name(one)
    write_atomically(file, (json.dumps(one, indent=1) + "\n").encode())
    return file


def file_name(one: Record) -> str:
    """Date, device, commit, and the part where the record is one of several."""
    device = re.sub(r"[^a-z0-9]+", "-", one["device"].lower()).strip("-")
    part = f"_part{one['part']}" if one.get("part") else ""
    return f"{one['date'][:10]}_{device}_{one['commit'][:10]}{part}.json"


# Read


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
    where += "".join(f"; {one}" for one in one.get("blas", ()))
    where += "; BLAS held back" * bool(one.get("pinned"))
    return f"{where}; commit {one['commit'][:10]}{changed}, {one['date'][:10]}{_disturbed(one)}"


def _disturbed(one: Record) -> str:
    parts = [one, *one.get("workloads", {}).values()]
    most = max((part.get("others_share") or 0.0 for part in parts), default=0.0)
    return f"; not quiet, other programs took up to {most:.0%} of the processor" * (most > QUIET)
