"""The pytest plugin, in runs of pytest of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from gpunet.testing import simgpu

ROOT = Path(__file__).resolve().parent.parent
SWITCHES = ("GPUNET_REQUIRE_GPU", "GPUNET_REQUIRE_SIM", "PYTEST_ADDOPTS", "PYTEST_PLUGINS")
needs_sim = pytest.mark.skipif(not simgpu.available()[0], reason=simgpu.available()[1])

SUITE = """
import sys
import numpy as np
import pytest

def test_device(device, xp):
    assert (xp.__name__, device) in (("numpy", "cpu"), ("cupy", "cuda"))
    if device == "cuda":
        import cupy
        assert cupy is xp and cupy.cuda.is_available()
        assert float(cupy.ones(3).sum()) == 3

def test_xp_alone(xp):
    assert xp.arange(3).sum() == 3

def test_no_gpu_is_left():
    assert not sys.modules["cupy"].cuda.is_available()

def test_plain():
    pass

@pytest.mark.gpu
def test_on_a_gpu():
    pass

@pytest.mark.gpu
@pytest.mark.skipif(True, reason="switched off")
def test_switched_off():
    pass

@pytest.mark.gpu
@pytest.mark.xfail(reason="known")
def test_known_to_fail():
    pass

@pytest.mark.parametrize("n", [1, 2])
def test_several(xp, n):
    if n == 2:
        pytest.skip("not two")
"""
# A cupy with and one without a GPU, whatever this machine has.
A_GPU = """
import types
cuda = types.SimpleNamespace(runtime=types.SimpleNamespace(getDeviceCount=lambda: 1))
"""
NO_GPU = {"CUDA_VISIBLE_DEVICES": ""}  # whatever this machine has


class Run:
    def __init__(self, status: int, text: str) -> None:
        self.status, self.text = status, text

    def outcome(self, test: str) -> str:
        """PASSED, SKIPPED, FAILED, ERROR or XFAIL."""
        found = re.findall(rf"::{re.escape(test)} ([A-Z]+)", self.text)
        assert found, (test, self.text)
        return str(found[-1])

    @property
    def lines(self) -> list[str]:
        """What was printed, without the time and the names of installed plugins."""
        return [
            re.sub(r" in [\d.]+s", "", line)
            for line in self.text.splitlines()
            if not line.startswith("plugins: ")
        ]

    @property
    def tests(self) -> list[str]:
        return re.findall(r"::(\S+) [A-Z]+ ", self.text)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "broken").mkdir()
    (tmp_path / "test_suite.py").write_text(SUITE)
    return tmp_path


def run(
    folder: Path, *arguments: str, plugin: bool = True, path: tuple[Path, ...] = (), **switches: str
) -> Run:
    environment = {name: value for name, value in os.environ.items() if name not in SWITCHES}
    paths = [*path, folder / "broken", ROOT, environment.get("PYTHONPATH", "")]
    environment |= {"PYTHONPATH": os.pathsep.join(map(str, paths)), **NO_GPU, **switches}
    loaded = ["-p", "gpunet.testing.plugin"] if plugin else []
    if not path:
        environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # the others only cost time
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", *loaded, *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    return Run(done.returncode, done.stdout)


@needs_sim
def test_the_default_is_cpu_and_sim(folder: Path) -> None:
    found = run(folder)
    assert found.status == 0, found.text
    for test in ("test_device[cpu]", "test_device[sim]", "test_xp_alone[sim]", "test_plain"):
        assert found.outcome(test) == "PASSED"
    assert found.outcome("test_no_gpu_is_left") == "PASSED"
    assert found.outcome("test_on_a_gpu") == "SKIPPED"
    assert found.outcome("test_known_to_fail") == "SKIPPED"
    ids = sorted(test for test in found.tests if test.startswith("test_several"))
    assert ids == [f"test_several[{n}-{d}]" for n in (1, 2) for d in ("cpu", "sim")]
    assert re.search(r"^devices: cpu, sim$", found.text, re.M)
    reasons = re.findall(r"^skipped (\d+): (.*)$", found.text, re.M)
    assert ("2", "not two") in reasons
    assert ("1", "switched off") in reasons
    assert ("2", "needs a GPU: this run is on the simulated one: --gpunet-device cuda") in reasons
    assert sum(int(count) for count, _ in reasons) == 5
    assert "5 skipped" in found.text


def test_one_device_is_chosen(folder: Path) -> None:
    found = run(folder, "--gpunet-device", "cpu", "-k", "xp_alone or several")
    assert {re.sub(r".*\[|.*-|\]", "", test) for test in found.tests} == {"cpu"}
    assert found.status == 0
    assert "devices: cpu\n" in found.text
    unknown = run(folder, "--gpunet-device", "tpu")
    assert unknown.status == 4
    assert "invalid choice: 'tpu'" in unknown.text


def test_without_a_gpu_tests_on_cuda_are_skipped(folder: Path) -> None:
    found = run(folder, "--gpunet-device", "cuda", "-k", "xp_alone or on_a_gpu")
    assert found.status == 0
    assert found.outcome("test_xp_alone[cuda]") == "SKIPPED"
    assert re.search(r"^skipped 2: needs a GPU: no usable GPU", found.text, re.M)


@pytest.mark.parametrize("asked", ["option", "1", "0"])
def test_a_required_gpu_makes_skips_fail(folder: Path, asked: str) -> None:
    arguments = ["--gpunet-device", "cuda", "-k", "not known"]
    if asked == "option":
        found = run(folder, *arguments, "--gpunet-require-gpu")
    else:
        found = run(folder, *arguments, GPUNET_REQUIRE_GPU=asked)
    wanted = "SKIPPED" if asked == "0" else "ERROR"
    gpu_tests = ("test_on_a_gpu", "test_switched_off", "test_xp_alone[cuda]", "test_device[cuda]")
    for test in gpu_tests:
        assert found.outcome(test) == wanted
    assert found.outcome("test_plain") == "PASSED"
    assert found.status == (0 if asked == "0" else 1)
    if asked != "0":
        assert "skipped, where a GPU is required: switched off" in found.text
        assert "skipped, where a GPU is required: needs a GPU: no usable GPU" in found.text


def test_on_a_machine_with_a_gpu_it_has_cupy(folder: Path) -> None:
    """Nothing of the simulated GPU is there in that process."""
    (folder / "broken" / "cupy.py").write_text(A_GPU)
    (folder / "test_suite.py").write_text(
        "import pytest, sys\n"
        "def test_xp(xp): assert xp.__name__ == 'numpy' or xp.cuda.runtime.getDeviceCount() == 1\n"
        "@pytest.mark.gpu\n"
        "def test_marked(): assert 'cxx/simgpu-' not in open('/proc/self/maps').read()\n"
    )
    both = ("--gpunet-device", "sim", "--gpunet-device", "cuda")
    found = run(folder, *both)
    assert found.status == 0, found.text
    outcomes = [found.outcome(test) for test in ("test_xp[sim]", "test_xp[cuda]", "test_marked")]
    assert outcomes == ["SKIPPED", "PASSED", "PASSED"]
    assert "skipped 1: no simulated GPU: the real one has CuPy here; run" in found.text
    assert run(folder, *both, GPUNET_REQUIRE_SIM="1").outcome("test_xp[sim]") == "ERROR"
    required = run(folder, "--gpunet-require-gpu")
    assert required.tests == ["test_xp[cpu]", "test_xp[cuda]", "test_marked"]
    assert required.status == 0


def test_a_required_gpu_leaves_other_tests_alone(folder: Path) -> None:
    """On a GPU (here: a cupy that says so) an expected failure is no skip, nor is a test's own."""
    (folder / "broken" / "cupy.py").write_text(A_GPU)
    (folder / "test_more.py").write_text(
        "import pytest\n"
        "@pytest.mark.gpu\n@pytest.mark.xfail\ndef test_known(): assert False\n"
        "@pytest.mark.gpu\ndef test_runs(): pass\n"
        "@pytest.mark.gpu\ndef test_skips(): pytest.skip('too small')\n"
        "def test_other(): pytest.skip('no gpu test')\n"
    )
    found = run(folder, "--gpunet-require-gpu", "test_more.py")
    names = ("test_known", "test_runs", "test_skips", "test_other")
    outcomes = [found.outcome(name) for name in names]
    assert outcomes == ["XFAIL", "PASSED", "FAILED", "SKIPPED"]
    assert "skipped, where a GPU is required: too small" in found.text
    assert "skipped 1: no gpu test" in found.text


@needs_sim
def test_a_required_simulated_gpu_makes_skips_on_it_fail(folder: Path) -> None:
    found = run(folder, "-k", "several or switched_off", GPUNET_REQUIRE_SIM="1")
    outcomes = {
        test: found.outcome(test) for test in ("test_several[2-cpu]", "test_several[2-sim]")
    }
    assert list(outcomes.values()) == ["SKIPPED", "FAILED"]
    assert found.outcome("test_switched_off") == "SKIPPED"
    assert "skipped, where a simulated GPU is required: not two" in found.text


@pytest.mark.parametrize("required", ["", "0", "1"])
def test_without_a_compiler_sim_is_skipped_or_fails(folder: Path, required: str) -> None:
    (folder / "conftest.py").write_text("from gpunet import cxx\ncxx.CXX = 'no-such-compiler'\n")
    found = run(folder, "-k", "xp_alone", GPUNET_REQUIRE_SIM=required)
    assert found.outcome("test_xp_alone[cpu]") == "PASSED"
    assert found.outcome("test_xp_alone[sim]") == ("ERROR" if required == "1" else "SKIPPED")
    assert found.status == (1 if required == "1" else 0)
    assert (
        "no simulated GPU: the simulated GPU needs g++: no-such-compiler is not on PATH"
        in found.text
    )


def installed(folder: Path) -> Path:
    """A folder that holds what an installed gpunet tells Python about its plugin."""
    entries = (ROOT / "pyproject.toml").read_text("utf-8").split("entry-points.pytest11]\n")[1]
    place = folder / "site"
    (place / "gpunet-0.dist-info").mkdir(parents=True)
    (place / "gpunet-0.dist-info" / "METADATA").write_text("Name: gpunet\nVersion: 0\n")
    (place / "gpunet-0.dist-info" / "entry_points.txt").write_text(
        "[pytest11]\n" + entries.split("\n\n")[0].replace('"', "") + "\n"
    )
    return place


@pytest.mark.parametrize("ways", ["conftest", "entry point", "both", "all three"])
def test_it_may_be_loaded_in_several_ways_at_once(folder: Path, ways: str) -> None:
    if ways != "entry point":
        (folder / "conftest.py").write_text('pytest_plugins = ["gpunet.testing.plugin"]\n')
    path = () if ways == "conftest" else (installed(folder),)
    arguments = ("--gpunet-device", "cpu", "-k", "xp_alone or plain")
    found = run(folder, *arguments, plugin=ways == "all three", path=path)
    assert found.status == 0, found.text
    assert found.tests == ["test_xp_alone[cpu]", "test_plain"]
    assert found.text.count("devices: cpu") == 1


# Projects that have nothing to do with it: an installed plugin is part of every run


PROJECTS = {
    "options": {
        "conftest.py": """
            def pytest_addoption(parser):
                parser.addoption("--device", default="cpu")
                parser.addoption("--require-gpu", action="store_true")
        """,
        "test_a.py": """
            def test_a(request):
                assert request.config.getoption("--device") == "cpu"
                assert request.config.getoption("--require-gpu") is False
        """,
    },
    "another plugin's options": {
        "playwright.py": """
            def pytest_addoption(parser):
                parser.getgroup("playwright").addoption("--device", default=None)
        """,
        "conftest.py": "pytest_plugins = ['playwright']",
        "test_a.py": "def test_a(pytestconfig): assert pytestconfig.option.device is None",
    },
    "fixtures": {
        "conftest.py": """
            import pytest

            @pytest.fixture
            def device(): return "mine"

            @pytest.fixture(params=[1, 2])
            def xp(request): return request.param

            @pytest.fixture(scope="session")
            def cp(): return []
        """,
        "test_a.py": """
            def test_a(device, xp, cp): assert (device, cp) == ("mine", []) and xp in (1, 2)
        """,
    },
    "fixtures of the module": {
        "test_a.py": """
            import pytest
            xp = pytest.fixture(lambda: 1, name="xp")

            @pytest.fixture
            def device(): return "mine"

            def test_a(device, xp): assert (device, xp) == ("mine", 1)
        """
    },
    "parameters": {
        "test_a.py": """
            import pytest

            @pytest.mark.parametrize("device", ["a", "b"])
            def test_a(device): assert device in ("a", "b")
        """
    },
    "parameters made by a hook": {
        "conftest.py": """
            def pytest_generate_tests(metafunc):
                for name in ("device", "xp", "cp"):
                    if name in metafunc.fixturenames:
                        metafunc.parametrize(name, ["mine", "other"])
        """,
        "test_a.py": "def test_a(device): assert device in ('mine', 'other')",
        "test_b.py": """
            def pytest_generate_tests(metafunc): metafunc.parametrize("own", [3])
            def test_b(xp, own): assert xp in ("mine", "other") and own == 3
        """,
    },
    "a marker": {
        "pytest.ini": "[pytest]\nmarkers =\n    gpu(n): how many are wanted",
        "conftest.py": """
            import pytest

            def pytest_runtest_setup(item):
                if item.get_closest_marker("gpu") and not item.get_closest_marker("gpu").args:
                    pytest.skip("mine")
        """,
        "test_a.py": """
            import pytest

            @pytest.mark.gpu(2)
            def test_a(): pass

            @pytest.mark.gpu
            def test_skipped(): assert False
        """,
    },
    "a marker that conftest registers": {
        "conftest.py": """
            def pytest_configure(config): config.addinivalue_line("markers", "gpu: wants torch")
        """,
        "test_a.py": "import pytest\n@pytest.mark.gpu\ndef test_a(): pass",
    },
    "a marker that nobody registers": {
        "test_a.py": "import pytest\n@pytest.mark.gpu\ndef test_a(): pass",
    },
    "an ini file and a test's own skips": {
        "pytest.ini": "[pytest]\naddopts = -q --strict-markers --strict-config",
        "test_a.py": "import pytest\ndef test_skipped(): pytest.skip('later')\ndef test_a(): pass",
    },
}


@pytest.mark.parametrize("project", PROJECTS)
def test_a_project_that_does_not_use_it_is_left_alone(project: str, tmp_path: Path) -> None:
    """Its tests are collected, end and say the same as without the plugin, but for pytest's warning
    of a marker that nobody registers.
    """
    for name, text in PROJECTS[project].items():
        (tmp_path / name).write_text(textwrap.dedent(text))
    path = (tmp_path, installed(tmp_path))
    options = ("-W", "ignore::pytest.PytestUnknownMarkWarning", "--ignore", str(path[1]))
    without = run(tmp_path, "-p", "no:gpunet.testing.plugin", *options, plugin=False, path=path)
    beside = run(tmp_path, *options, plugin=False, path=path)
    assert without.status == beside.status == 0, without.text + beside.text
    assert beside.lines == without.lines
    assert "test_a" in beside.text


@needs_sim
def test_own_and_its_fixtures_may_be_mixed(folder: Path) -> None:
    """A project with a `device` of its own takes `xp` from here, and a marker `gpu` of its own."""
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = gpu: mine")
    (folder / "test_suite.py").write_text(
        "import pytest\n"
        "@pytest.fixture\ndef device(): return 'mine'\n"
        "def test_both(device, xp): assert device == 'mine' and xp.ones(2).sum() == 2\n"
        "@pytest.mark.gpu\ndef test_marked(): pass\n"
    )
    found = run(folder)
    assert found.tests == ["test_both[cpu]", "test_both[sim]", "test_marked"]
    assert found.status == 0
    assert "devices: cpu, sim" in found.text


@needs_sim
def test_cp_is_for_gpus_alone(folder: Path) -> None:
    (folder / "test_suite.py").write_text(
        "def test_cp(cp): assert cp.__name__ == 'cupy' and cp.ones(2).get().sum() == 2\n"
        "def test_both(cp, xp, device): assert cp is xp and device == 'cuda'\n"
    )
    found = run(folder)
    assert found.tests == ["test_cp[sim]", "test_both[sim]"]
    assert found.status == 0
    nothing = run(folder, "--gpunet-device", "cpu")
    assert [nothing.outcome(test) for test in nothing.tests] == ["SKIPPED"] * 2


def test_where_its_name_is_given_the_marker_counts_without_a_fixture(folder: Path) -> None:
    text = "import pytest\n@pytest.mark.gpu\ndef test_marked(): assert False\n"
    (folder / "test_suite.py").write_text(text)
    by_option = run(folder)  # -p gpunet.testing.plugin
    (folder / "conftest.py").write_text("pytest_plugins = 'gpunet.testing.plugin'\n")
    by_conftest = run(folder, plugin=False)
    for found in (by_option, by_conftest):
        assert found.outcome("test_marked") == "SKIPPED"
        assert found.text.count("devices:") == 1


def test_workers_of_xdist_tell_what_they_used(folder: Path) -> None:
    pytest.importorskip("xdist")
    found = run(folder, "-p", "xdist", "-n", "2", "-k", "xp_alone or on_a_gpu")
    assert found.status == 0, found.text
    assert "devices: cpu, sim\n" in found.text
    assert re.search(r"^skipped 1: needs a GPU", found.text, re.M)
    unused = run(folder, "-p", "xdist", "-n", "2", "-k", "plain")
    assert (unused.status, "devices:" in unused.text) == (0, False)
