"""A pytest plugin, `-p benchmarks.on_device`: keep the tests that run on a device, drop the others.

A test that takes neither `device` nor `xp` and needs no GPU says nothing about one: CI has run it.
"""

from __future__ import annotations

import pytest

from gpunet.testing.plugin import chosen_devices


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    real = "cuda" in chosen_devices(config)
    kept, dropped = [], []
    for item in items:
        placed = "_place" in getattr(item, "fixturenames", ())
        wanted = placed or (real and item.get_closest_marker("gpu"))
        (kept if wanted else dropped).append(item)
    config.hook.pytest_deselected(items=dropped)
    items[:] = kept
