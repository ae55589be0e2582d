"""A pytest plugin, `-p benchmarks.on_device`: keep the tests that run on a device, drop the others.

A test that takes none of the plugin's fixtures and needs no GPU says nothing about one: CI has run
it.
"""

from __future__ import annotations

import pytest

from gpunet.testing.plugin import chosen_devices, device_of


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    chosen = chosen_devices(config)
    kept, dropped = [], []
    for item in items:
        (kept if device_of(item) in chosen else dropped).append(item)
    config.hook.pytest_deselected(items=dropped)
    items[:] = kept
