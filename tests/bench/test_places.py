"""gpunet.bench.places: the CPU, a GPU, and what a package offers as an entry point."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import pytest

from gpunet.bench import places
from gpunet.bench.counting import COUNTS, counts
from gpunet.bench.places import Place
from gpunet.bench.workloads import Workload

if sys.version_info >= (3, 11):
    import tomllib

ROOT = Path(__file__).resolve().parents[2]


def test_a_package_offers_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    inside = []

    @contextmanager
    def enter():
        inside.append("in")
        yield Place("moon", "cpu", lambda *_: counts())
        inside.append("out")

    package = ModuleType("a_package")
    package.enter = enter
    monkeypatch.setitem(sys.modules, "a_package", package)
    point = EntryPoint("moon", "a_package:enter", places.GROUP)
    monkeypatch.setattr(places, "entry_points", lambda group: [point])
    assert places.names() == ["cpu", "cuda", "moon"]
    with places.at("moon") as place:
        assert (place.name, place.timed, inside) == ("moon", True, ["in"])
    assert inside == ["in", "out"]
    with places.at("cpu") as place:
        assert (place.name, place.device) == ("cpu", "cpu")


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib came with Python 3.11")
def test_the_simulated_gpu_is_offered() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    [(name, value)] = project["entry-points"][places.GROUP].items()
    assert name == places.COUNTED
    assert callable(EntryPoint(name, value, places.GROUP).load())


def test_what_no_other_process_can_count_is_unknown() -> None:
    nowhere = Workload("W99", "sgd", (4, 3, 2), 5)
    assert places.elsewhere(nowhere, "eager") == dict.fromkeys(COUNTS)
