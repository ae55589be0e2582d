"""The pytest plugin that ships with gpunet: run GPU tests on the CPU, the simulated GPU or a GPU.

    pytest                                              cpu and sim
    pytest --gpunet-device cuda --gpunet-require-gpu    a real GPU; a GPU test that is skipped fails

A test that takes the fixture `device` ("cpu" or "cuda") or `xp` (numpy or cupy) runs once on each
device of the run; one that takes `cp` (cupy) only on the GPUs among them. The marker `gpu` is for
tests that only a real GPU can run. `--gpunet-require-gpu` or GPUNET_REQUIRE_GPU=1 turns every skip
of a test marked `gpu` or run on cuda into a failure, whatever the reason for it;
GPUNET_REQUIRE_SIM=1 does so with those run on sim.

CuPy has a real GPU or the simulated one, never both in a process. Where both are chosen and there
is a GPU, it has CuPy, and tests on sim are skipped; in a run on sim alone those marked `gpu` are.
With `--gpunet-require-gpu` the default is cpu and cuda.

pytest loads this in every project, so it does nothing in one that does not use it. A project's own
fixtures and parameters go before these. The marker `gpu` is left alone where the project registers
one of its own, and in a run that does not use the plugin: where no test takes one of the fixtures,
no option or variable above is given, and neither conftest.py nor `-p` names the plugin.
"""

from __future__ import annotations

import importlib
import os
from collections import Counter
from collections.abc import Generator, Iterator
from itertools import chain
from typing import Any

import numpy as np
import pytest

DEVICES = ("cpu", "sim", "cuda")
FIXTURES = ("device", "xp", "cp")
NO_SIM = "no simulated GPU"
MARKER = "gpu: needs a real GPU; skipped where there is none (gpunet)"
_MARKS = pytest.StashKey[bool]()  # whether a mark `gpu` means ours


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("gpunet", "GPU tests with and without a GPU")
    group.addoption(
        "--gpunet-device",
        action="append",
        choices=DEVICES,
        help="where tests with the fixture `device`, `xp` or `cp` run; may be given more than once "
        "(default: cpu and sim; where a GPU is required cpu and cuda)",
    )
    group.addoption(
        "--gpunet-require-gpu",
        action="store_true",
        default=_is_set("GPUNET_REQUIRE_GPU"),
        help="a test that is skipped for want of a GPU fails (also: GPUNET_REQUIRE_GPU=1)",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)
    if _asked_for(config):
        _prepare(config)


def _prepare(config: pytest.Config) -> None:
    """The simulated GPU must be there before CuPy is imported."""
    if "sim" in chosen_devices(config):
        importlib.import_module("gpunet.testing.simgpu")


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "") not in ("", "0")


def chosen_devices(config: pytest.Config) -> tuple[str, ...]:
    """The devices of this run, in the order of DEVICES."""
    required = config.getoption("--gpunet-require-gpu")
    given = config.getoption("--gpunet-device") or ("cpu", "cuda" if required else "sim")
    return tuple(d for d in DEVICES if d in given)


@pytest.hookimpl(trylast=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One call a device, but not where the project has fixtures or parameters of these names."""
    if "_gpunet_device" not in metafunc.fixturenames:
        return
    taken = {name for call in getattr(metafunc, "_calls", ()) for name in call.params}
    if all(name in taken for name in FIXTURES if name in metafunc.fixturenames):
        return  # by the project's pytest_generate_tests
    only_gpu = "_gpunet_on_gpu" in metafunc.fixturenames
    devices = [d for d in chosen_devices(metafunc.config) if not (only_gpu and d == "cpu")]
    metafunc.parametrize("_gpunet_device", devices, indirect=True)


def device_of(item: pytest.Item) -> str | None:
    """cpu, sim or cuda; None for a test that says nothing about one."""
    if item.config.stash.get(_MARKS, False) and item.get_closest_marker("gpu"):
        return "cuda"
    callspec = getattr(item, "callspec", None)
    return None if callspec is None else callspec.params.get("_gpunet_device")


# Who uses the plugin


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    used = _asked_for(config) or any(device_of(item) for item in items)
    lines = [line for line in config.getini("markers") if line != MARKER]
    own = any(line.replace("(", ":").split(":")[0].strip() == "gpu" for line in lines)
    config.stash[_MARKS] = used and not own
    if used:
        _prepare(config)


def _asked_for(config: pytest.Config) -> bool:
    """Whether an option or a variable is given, or the plugin is loaded by name."""
    if config.getoption("--gpunet-device") or config.getoption("--gpunet-require-gpu"):
        return True
    named = [config.known_args_namespace.plugins, os.environ.get("PYTEST_PLUGINS", "").split(",")]
    named += [
        getattr(plugin, "pytest_plugins", ()) for plugin in config.pluginmanager.get_plugins()
    ]
    return any(__name__ in ([one] if isinstance(one, str) else one or ()) for one in named)


# Fixtures


@pytest.fixture
def _gpunet_device(request: pytest.FixtureRequest) -> Iterator[str]:
    """cpu, sim or cuda: with what the test needs in place, or a skip that says what is missing."""
    place = request.param
    if place == "cuda":
        _need(gpu_problem())
    if place != "sim":
        yield place
        return
    if "cuda" in chosen_devices(request.config) and gpu_problem() is None:
        pytest.skip(f"{NO_SIM}: the real one has CuPy here; run pytest --gpunet-device sim")
    simgpu = importlib.import_module("gpunet.testing.simgpu")
    usable, reason = simgpu.available()
    if not usable:
        pytest.skip(f"{NO_SIM}: {reason}")
    with simgpu.activate():
        yield place


@pytest.fixture
def _gpunet_on_gpu() -> None:
    """What takes this does not run on the CPU."""


@pytest.fixture
def device(_gpunet_device: str) -> str:
    """ "cpu" or "cuda", as gpunet names devices; "cuda" is the simulated GPU in a run on sim."""
    return "cpu" if _gpunet_device == "cpu" else "cuda"


@pytest.fixture
def xp(_gpunet_device: str) -> Any:
    """numpy, or cupy (on the simulated GPU in a run on sim)."""
    return np if _gpunet_device == "cpu" else importlib.import_module("cupy")


@pytest.fixture
def cp(_gpunet_on_gpu: None, xp: Any) -> Any:
    """cupy, for what NumPy has not: kernels, streams, memory of the device."""
    return xp


# Skips


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.config.stash.get(_MARKS, False) and item.get_closest_marker("gpu"):
        cuda = "cuda" in chosen_devices(item.config)
        simulated = not cuda and any(device_of(one) == "sim" for one in item.session.items)
        _need(
            "this run is on the simulated one: --gpunet-device cuda" if simulated else gpu_problem()
        )


def _need(problem: str | None) -> None:
    if problem is not None:
        pytest.skip(f"needs a GPU: {problem}")


def gpu_problem() -> str | None:
    """None where a real GPU is usable, else why it is not."""
    from gpunet.backend import DeviceError, cupy

    try:
        cupy()
    except DeviceError as error:
        return str(error)
    return None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    place = device_of(item)
    if place:
        vars(report)["gpunet_device"] = place  # xdist carries it to the process that sums up
    is_skip = report.skipped and not hasattr(report, "wasxfail")
    if is_skip and place in _required(item.config):
        which = "simulated GPU" if place == "sim" else "GPU"
        report.outcome = "failed"
        report.longrepr = f"skipped, where a {which} is required: {_reason(report)}"
    return report


def _required(config: pytest.Config) -> tuple[str, ...]:
    """The devices whose tests must not be skipped."""
    required = {"sim": _is_set("GPUNET_REQUIRE_SIM")}
    required["cuda"] = config.getoption("--gpunet-require-gpu")
    return tuple(device for device, needed in required.items() if needed)


def _reason(report: Any) -> str:
    """Why the test, or the whole module, was skipped."""
    where = report.longrepr
    return (where[2] if isinstance(where, tuple) else str(where)).removeprefix("Skipped: ")


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """The skips, counted by reason: what was skipped has not passed. Silent without such tests."""
    stats = terminalreporter.stats
    used = any(hasattr(report, "gpunet_device") for report in chain.from_iterable(stats.values()))
    if not used and not config.getoption("--gpunet-device"):
        return
    terminalreporter.write_line(f"devices: {', '.join(chosen_devices(config))}")
    skipped = Counter(map(_reason, stats.get("skipped", [])))
    for reason, count in sorted(skipped.items()):
        terminalreporter.write_line(f"skipped {count}: {reason}")
