"""Which optimizer? `gpunet compare` on the digits, with kernels of the BLAS for two processors, and
what the READMEs say of it.

    python -m benchmarks.optimizers            compare, write a record, the READMEs' sentences and
                                               their picture
    python -m benchmarks.optimizers --text     the sentences from the last record

A claim that holds with one processor's kernels alone is noise: what the sentences say holds with
all of them, or names the kernels.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.records import RESULTS, ROOT, Record, header, newest, write
from benchmarks.tables import READMES, rewritten
from gpunet.files import write_atomically

FOLDER, MARK = RESULTS / "optimizers", "optimizers"
PICTURE = ROOT / "docs" / "images" / "compare.png"
KERNELS = (None, "Haswell")  # of OpenBLAS; None is what the processor gets
NUMBERS = {"best_lr", "valid_loss", "valid_loss_sd", "workable_low", "workable_high"}
KEPT = ("optimizer", "leads", *sorted(NUMBERS))
TEXT = {
    "en": (
        "On the digits it finds no single winner: {count} of the 16 tie, with validation "
        "losses from {low} to {high} and differences within the spread over the three seeds. "
        "{first} COCOB, without any learning rate, {among}, {gap} above the lowest. {widest} "
        "{forgive} the widest range of rates (a factor of {most}), {narrowest} the narrowest (a "
        "factor of {least})."
    ),
    "ko": (
        "손글씨 숫자에서는 단독 승자가 없습니다. 16가지 가운데 {count}가지가 시드 세 개에 따른 "
        "편차 안에서 비기며, 그 검증 손실은 {low}에서 {high}까지입니다. {first} 학습률이 없는 "
        "COCOB은 {among}, 가장 낮은 값보다 {gap} 높을 뿐입니다. 가장 넓은 학습률 범위를 견디는 "
        "것은 {widest}(최대와 최소의 비 {most}배), 가장 좁은 것은 {narrowest}({least}배)입니다."
    ),
}


def measure() -> Record:
    """The record: for each kernel the verdict's first sentence, and each optimizer's row."""
    from benchmarks import machine

    about = header("cpu", machine.device_name("cpu"), threads=1)
    with tempfile.TemporaryDirectory() as folder:
        found = [_compare(kernel, Path(folder) / str(kernel)) for kernel in KERNELS]
        drawn = Path(folder) / str(KERNELS[0]) / PICTURE.name
        write_atomically(PICTURE, drawn.read_bytes())
    return about | {"quick": False, "runs": found}


def _compare(kernel: str | None, out: Path) -> Record:
    drop = {"OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"}
    variables = {name: value for name, value in os.environ.items() if name not in drop}
    variables |= {"OPENBLAS_CORETYPE": kernel} if kernel else {}
    command = [sys.executable, "-m", "gpunet", "compare", "--out", str(out), "--device", "cpu"]
    options: dict[str, Any] = {"env": variables, "cwd": ROOT, "text": True, "check": True}
    printed = subprocess.run(command, capture_output=True, **options).stdout
    tell = "from gpunet import threads; print(*threads.kernels())"
    told = subprocess.run([sys.executable, "-c", tell], capture_output=True, **options).stdout
    with (out / "table.csv").open(encoding="utf-8") as file:
        rows = [{name: _value(name, row[name]) for name in KEPT} for row in csv.DictReader(file)]
    (headline,) = (line for line in printed.splitlines() if line.startswith("No single winner"))
    return {"kernels": told.strip(), "headline": headline, "rows": rows}


def _value(name: str, cell: str) -> Any:
    if name == "leads":
        return cell == "True"
    if name in NUMBERS:
        return float(cell) if cell else None
    return cell


def sentences(one: Record, language: str) -> str:
    """What the README of this language says of the record."""
    runs = one["runs"]
    ties = set.intersection(*({r["optimizer"] for r in run["rows"] if r["leads"]} for run in runs))
    own = {row["optimizer"]: row for row in runs[0]["rows"]}
    losses = sorted(row["valid_loss"] for name, row in own.items() if name in ties)
    ranges = {
        name: row["workable_high"] / row["workable_low"]
        for name, row in own.items()
        if row["workable_low"]
    }
    most, least = max(ranges.values()), min(ranges.values())
    widest, narrowest = (
        [name for name, ratio in ranges.items() if abs(ratio / end - 1) < 0.01]
        for end in (most, least)
    )
    gap = own["COCOB"]["valid_loss"] - min(row["valid_loss"] for row in own.values())
    words = {
        "count": len(ties),
        "low": f"{losses[0]:.3f}",
        "high": f"{losses[-1]:.3f}",
        "first": _first(runs, language),
        "among": _among("COCOB" in ties, language),
        "gap": f"{gap:.3f}",
        "widest": _list(widest, language),
        "forgive": "forgive" if widest[1:] else "forgives",
        "narrowest": _list(narrowest, language),
        "most": f"{most:.0f}",
        "least": f"{least:.0f}",
    }
    wide = 56 if language == "ko" else 100  # Korean letters take two places
    return textwrap.fill(TEXT[language].format(**words), wide, break_on_hyphens=False)


def _first(runs: list[Record], language: str) -> str:
    """Who has the lowest mean, with which kernels."""
    found = {run["kernels"]: run["rows"][0]["optimizer"] for run in runs}
    if language == "ko":
        cases = ", ".join(f"{kernel} 커널에서는 {name}" for kernel, name in found.items())
        return f"그 가운데 평균이 가장 낮은 것은 프로세서의 BLAS가 정합니다({cases})."
    cases = ", ".join(f"{name} with the kernels for {kernel}" for kernel, name in found.items())
    return f"Which of them has the lowest mean is up to the processor's BLAS: {cases}."


def _among(ties: bool, language: str) -> str:
    if language == "ko":
        return "여기에 들며" if ties else "여기에 들지 못하지만"
    return "is among them" if ties else "is not among them"


def _list(names: Iterable[str], language: str) -> str:
    *before, last = names
    joined = ", ".join(before)
    return f"{joined}{' and ' if language == 'en' else ', '}{last}" if before else last


def with_sentences(text: str, folder: Path, language: str) -> str:
    """A README with the sentences of the newest record in `folder`."""
    found = newest(folder, lambda one: sentences(one, "en"))
    return rewritten(text, MARK, sentences(found["cpu"], language) if found else "-")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.optimizers")
    parser.add_argument("--text", action="store_true", help="measure nothing")
    if not parser.parse_args().text:
        print(write(FOLDER, measure()).name)
    for file in READMES:
        language = "ko" if ".ko" in file.suffixes else "en"
        text = with_sentences(file.read_text("utf-8"), FOLDER, language)
        write_atomically(file, text.encode())


if __name__ == "__main__":
    main()
