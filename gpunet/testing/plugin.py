"""The pytest plugin that ships with gpunet: run GPU tests on the CPU, the simulated GPU or a GPU.

    pytest --device cpu --device sim      (the default: both)
    pytest --device cuda --require-gpu    (a real GPU; a GPU test that is skipped fails)

A test that takes the fixture `device` ("cpu" or "cuda") or `xp` (numpy or cupy) runs once on each
device. On sim, `import cupy` gives the stand-in for the length of the test. The marker `gpu` is for
tests that only a real GPU can run. `--require-gpu` or GPUNET_REQUIRE_GPU=1 turns every skip of a
test marked `gpu` or run on cuda into a failure, whatever the reason for it; GPUNET_REQUIRE_SIM=1
does so where the simulated GPU cannot be had. A project's own fixtures `device` and `xp` go before
these.
"""

from __future__ import annotations

import importlib
import os
from collections import Counter
from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
import pytest

DEVICES = ("cpu", "sim", "cuda")
_USED = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("gpunet", "GPU tests with and without a GPU")
    group.addoption(
        "--device",
        action="append",
        choices=DEVICES,
        help="where tests with the fixture `device` or `xp` run; may be given more than once "
        "(default: cpu and sim)",
    )
    group.addoption(
        "--require-gpu",
        action="store_true",
        default=_is_set("GPUNET_REQUIRE_GPU"),
        help="a test that is skipped for want of a GPU fails (also: GPUNET_REQUIRE_GPU=1)",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "gpu: needs a real GPU; skipped where there is none")


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "") not in ("", "0")


def chosen_devices(config: pytest.Config) -> tuple[str, ...]:
    """The devices of this run, in the order of DEVICES."""
    given = config.getoption("--device") or ["cpu", "sim"]
    return tuple(d for d in DEVICES if d in given)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "_place" in metafunc.fixturenames:  # not so where a project has fixtures of these names
        metafunc.parametrize("_place", chosen_devices(metafunc.config), indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    config.stash[_USED] = any(map(_device_of, items))


def _device_of(item: pytest.Item) -> str | None:
    """The device that the test is for; None for a test that needs no device."""
    if item.get_closest_marker("gpu"):
        return "cuda"
    callspec = getattr(item, "callspec", None)
    return None if callspec is None else callspec.params.get("_place")


@pytest.fixture
def _place(request: pytest.FixtureRequest) -> Iterator[str]:
    """cpu, sim or cuda: with what the test needs in place, or a skip that says what is missing."""
    place = request.param
    if place == "cuda":
        _need_gpu()
    if place != "sim":
        yield place
        return
    simgpu = importlib.import_module("gpunet.testing.simgpu")
    usable, reason = simgpu.available()
    if not usable:
        refuse = pytest.fail if _is_set("GPUNET_REQUIRE_SIM") else pytest.skip
        refuse(f"no simulated GPU: {reason}")
    with simgpu.activate():
        yield place


@pytest.fixture
def device(_place: str) -> str:
    """ "cpu" or "cuda", as gpunet names devices; "cuda" is the simulated GPU in a run on sim."""
    return "cpu" if _place == "cpu" else "cuda"


@pytest.fixture
def xp(_place: str) -> Any:
    """numpy, or cupy (the stand-in for it in a run on sim)."""
    return np if _place == "cpu" else importlib.import_module("cupy")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu"):
        _need_gpu()


def _need_gpu() -> None:
    reason = gpu_problem()
    if reason is not None:
        pytest.skip(f"needs a GPU: {reason}")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    is_skip = report.skipped and not hasattr(report, "wasxfail")
    if is_skip and item.config.getoption("--require-gpu") and _device_of(item) == "cuda":
        report.outcome = "failed"
        report.longrepr = f"skipped, where a GPU is required: {_reason(report)}"
    return report


def _reason(report: Any) -> str:
    """Why the test, or the whole module, was skipped."""
    where = report.longrepr
    return (where[2] if isinstance(where, tuple) else str(where)).removeprefix("Skipped: ")


def gpu_problem() -> str | None:
    """None where a real GPU is usable, else why it is not."""
    from gpunet.backend import DeviceError, cupy

    try:
        cupy()
    except DeviceError as error:
        return str(error)
    return None


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """The skips, counted by reason: what was skipped has not passed. Silent without such tests."""
    if not config.getoption("--device") and not config.stash.get(_USED, False):
        return
    terminalreporter.write_line(f"devices: {', '.join(chosen_devices(config))}")
    skipped = Counter(map(_reason, terminalreporter.stats.get("skipped", [])))
    for reason, count in sorted(skipped.items()):
        terminalreporter.write_line(f"skipped {count}: {reason}")
