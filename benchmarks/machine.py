"""What a measurement was taken on, and whether the machine was quiet."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gpunet import machine

CPUS = Path("/proc/cpuinfo")
TICKS = Path("/proc/stat")


def device_name(place: str) -> str:
    """The GPU's name, or the processor's."""
    if place == "cuda":
        return machine.gpu_names()[0].split(",")[0]
    return processor()


def processor() -> str:
    """The processor's name, without its trade marks; the machine's kind where it has none."""
    text = CPUS.read_text() if CPUS.is_file() else ""
    found = re.search(r"^model name\s*:\s*(.*)$", text, re.MULTILINE)
    name = found[1] if found else platform.processor() or platform.machine()
    return " ".join(re.sub(r"\((R|TM)\)|\bCPU\b|\d+-Core Processor|@.*", "", name).split())


@dataclass
class Others:
    """share: of the processor's time that other programs took; None where that is not known."""

    share: float | None = None


@contextmanager
def watched() -> Iterator[Others]:
    """Inside it, what other programs do is watched. Few of them are enough to spoil the times of
    libraries whose threads wait for each other: they then wait for the scheduler.
    """
    others = Others()
    before = _busy_s(), sum(os.times()[:4]), time.perf_counter()
    yield others
    after = _busy_s(), sum(os.times()[:4]), time.perf_counter()
    if before[0] is None or after[0] is None:
        return
    busy, own, wall = (b - a for a, b in zip(before, after, strict=True))
    others.share = round(max(0.0, busy - own) / (wall * (os.cpu_count() or 1)), 3)


def _busy_s() -> float | None:
    """Seconds that the processors worked since the machine started."""
    if not TICKS.is_file():
        return None
    user, nice, system, _idle, _waiting, *interrupts = map(int, TICKS.read_text().split()[1:8])
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")
