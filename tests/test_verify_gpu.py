"""benchmarks.verify_gpu: the whole command on the simulated GPU, and every way it can fail."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from benchmarks import parts, step_checks, step_timings, verify_gpu
from benchmarks.verify_gpu import LIMITS, NAMES, Failed, Result, Run
from gpunet.fused import on_cupy
from gpunet.gemm import gemm
from gpunet.testing import simgpu
from gpunet.train.stream import HostRows

GOOD = "def test_on_a_device(xp):\n    assert xp.ones(3).sum() == 3\n"
PLAIN = "def test_without_one():\n    assert False, 'not run: it takes no device'\n"
EMPTY = Run("sim", Path("tests"), Path("tests"), 30)
MODES = ("tape", "fused", "captured")
STEPS = {
    *(f"{w} step, {mode}" for w in ("W1", "W2") for mode in (*MODES, "captured, 50 a launch")),
    *(f"W3 step, {mode}, {p}" for mode in MODES for p in ("float32", "tf32", "bfloat16")),
    *(f"product, {p}" for p in ("float32", "tf32", "bfloat16")),
    *(f"W3 step, {what}" for what in ("copies alone", "resident", "streamed")),
}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A folder of tests for the simulated GPU, in place of the whole suite."""
    usable, reason = simgpu.available()
    if not usable:
        pytest.skip(f"no simulated GPU: {reason}")
    folder = tmp_path / "tests"
    folder.mkdir()
    (folder / "conftest.py").write_text('pytest_plugins = ["gpunet.testing.plugin"]\n')
    (folder / "test_good.py").write_text(GOOD + PLAIN)
    return folder


def verify(small: Path, *options: str) -> tuple[int, dict[str, Any]]:
    out = small.parent / "out"
    arguments = ["--device", "sim", "--out", str(out), "--tests", str(small)]
    status = verify_gpu.main([*arguments, "--parity", str(small / "test_good.py"), *options])
    files = list(out.glob("*"))
    assert len(files) == 1
    return status, json.loads(files[0].read_text())


def test_the_whole_command_on_the_simulated_gpu(
    small: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify_gpu, "sanitizer", lambda: None)
    # Without this the one file is left out of the suite, as the parity tests are.
    (small / "test_more.py").write_text(GOOD)
    status, found = verify(small)
    assert status == 0, capsys.readouterr().out
    assert found["ok"] is True
    assert found["device"] == "simulated"
    assert (found["failed"], found["skipped"], found["left_out"]) == (0, 0, [])
    assert list(found["parts"]) == NAMES
    assert found["parts"]["suite"]["passed"] == found["parts"]["parity"]["passed"] == 1
    assert found["parts"]["training"]["passed"] == 4
    assert found["parts"]["products"]["passed"] == 43
    assert found["parts"]["step"]["passed"] == 34
    assert found["parts"]["streaming"]["passed"] == 2
    assert found["parts"]["memcheck"]["note"] == "not installed"
    assert found["passed"] == sum(p["passed"] for p in found["parts"].values())
    for key in ("driver", "cuda_runtime", "cupy", "python", "numpy", "commit", "dirty", "date"):
        assert key in found
    assert found["timings"].pop(verify_gpu.COMPILING)["cold_s"] > 0
    assert found["timings"].keys() >= {parts.COPY, parts.ADAM, parts.EAGER, *STEPS}
    for timing in found["timings"].values():
        low, high = timing["quartiles_s"]
        assert 0 < low <= timing["median_s"] <= high
        assert timing["rounds"] == parts.ROUNDS["sim"]
    # The launches that docs/step.md counts, without the gather of the rows.
    assert found["timings"]["W1 step, captured"]["nodes"] == 10
    assert found["timings"]["W2 step, captured"]["nodes"] == 15


def test_a_failure_and_a_skip_are_counted_and_named(small: Path) -> None:
    (small / "test_bad.py").write_text(
        "import pytest\n"
        "def test_fails(xp):\n    assert 1 == 2\n"
        "def test_skips(xp):\n    pytest.skip('because')\n"
        "@pytest.mark.xfail\ndef test_expected(xp):\n    assert False\n"
    )
    status, found = verify(small, "--only", "suite")
    assert status == 1
    assert found["ok"] is False
    assert (found["passed"], found["failed"], found["skipped"]) == (1, 1, 1)
    assert found["skips"] == {"because": 1}
    assert "test_fails" in found["failures"][0]
    assert "1 == 2" in found["failures"][0]


def test_a_skip_alone_or_a_part_left_out_is_no_success(small: Path) -> None:
    (small / "test_skip.py").write_text("import pytest\ndef test_it(xp):\n    pytest.skip('s')\n")
    (small / "test_more.py").write_text(GOOD)
    assert verify(small, "--only", "suite")[0] == 1
    status, found = verify(small, "--only", "parity")
    assert (status, found["failed"], found["skipped"]) == (1, 0, 0)
    assert found["left_out"] == [name for name in NAMES if name != "parity"]


def test_a_module_that_skips_itself_is_counted_with_its_reason(small: Path) -> None:
    (small / "test_module.py").write_text("import pytest\npytest.importorskip('no_such_module')\n")
    (small / "test_more.py").write_text(GOOD)
    status, found = verify(small, "--only", "suite")
    assert (status, found["passed"], found["skipped"]) == (1, 1, 1)
    assert "no_such_module" in next(iter(found["skips"]))


def test_no_tests_at_all_is_a_failure(small: Path) -> None:
    (small / "test_good.py").write_text(PLAIN)
    status, found = verify(small, "--only", "parity")
    assert (status, found["failed"]) == (1, 1)
    assert "pytest ended with 5" in found["failures"][0]


def test_without_a_gpu_one_line_status_2_and_no_file(tmp_path: Path) -> None:
    """Where a GPU is usable this hides it: CUDA_VISIBLE_DEVICES."""
    out = tmp_path / "results"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.verify_gpu", "--out", str(out)],
        cwd=verify_gpu.ROOT,
        env={"PATH": "", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, done.stderr
    assert done.stdout.startswith("no usable GPU: ")
    assert done.stdout.count("\n") == 1
    assert not out.exists()


def test_a_child_that_cannot_start_is_no_gpu_either(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(verify_gpu, "command", lambda *_: (1, "Traceback:\n  x\nOSError: no\n"))
    assert verify_gpu.main(["--out", str(tmp_path / "results")]) == 2
    expected = "no usable GPU: exit status 1: OSError: no; nothing was run, nothing written\n"
    assert capsys.readouterr().out == expected


def test_a_simulated_run_is_not_written_among_the_results() -> None:
    with pytest.raises(SystemExit):
        verify_gpu.main(["--device", "sim", "--out", str(verify_gpu.RESULTS)])
    assert verify_gpu._options(["--device", "sim"]).out != verify_gpu.RESULTS
    assert verify_gpu._options([]).out == verify_gpu.RESULTS


def test_all_parts_together_stay_under_eight_minutes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On a GPU no part gets more time than is left; on the simulated one nothing is short."""
    given = []

    def part(run: Run) -> Result:
        given.append(run.limit)
        verify_gpu.command([sys.executable, "-c", ""], run.limit)
        return Result(passed=1)

    part.__name__ = "suite"
    about = {"device": "a GPU"}
    monkeypatch.setattr(verify_gpu, "child", lambda *_: about)
    monkeypatch.setattr(verify_gpu, "LIMITS", {part: 10**6})
    arguments = ["--commit", "abc", "--out", str(tmp_path), "--only", "suite"]
    verify_gpu.main(arguments)
    assert 0 < given[0] <= verify_gpu.TOTAL < 8 * 60
    assert max(LIMITS.values()) < verify_gpu.TOTAL
    monkeypatch.setattr(verify_gpu, "TOTAL", 0)
    verify_gpu.main(arguments)
    (file,) = tmp_path.glob("*")
    assert json.loads(file.read_text())["failures"] == ["suite: suite: not run: no time was left"]


# How a part can end


def test_a_part_that_hangs_is_ended_with_its_children_and_counted() -> None:
    def hangs(run: Run) -> Result:
        verify_gpu.command([sys.executable, "-c", script], 1.0)
        return Result(passed=1)

    script = "import subprocess, time; subprocess.Popen(['sleep', '60']); time.sleep(60)"
    start = time.perf_counter()
    result = verify_gpu.outcome(hangs, EMPTY)
    assert time.perf_counter() - start < 20
    assert result.failures == ["hangs: no result after 1 s"]


def test_a_part_that_crashes_is_counted() -> None:
    def crashes(run: Run) -> Result:
        raise KeyError("timings")

    result = verify_gpu.outcome(crashes, EMPTY)
    assert (result.passed, result.failed) == (0, 1)
    assert "KeyError: 'timings'" in result.failures[0]


def test_a_child_that_fails_says_why() -> None:
    with pytest.raises(Failed, match="KeyError: 'no such part'"):
        verify_gpu.child(EMPTY, "no such part")


def tool(path: Path, status: int) -> str:
    """A program that prints what it was given and ends with `status`."""
    path.write_text(f'#!/bin/sh\necho "$@"\nexit {status}\n')
    path.chmod(0o755)
    return str(path)


def test_compute_sanitizer_is_used_where_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    path = tool(tmp_path / "bin" / "compute-sanitizer", 0)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.delenv("CUDA_HOME", raising=False)
    monkeypatch.delenv("CUDA_PATH", raising=False)
    assert verify_gpu.sanitizer() is None
    monkeypatch.setenv("CUDA_PATH", str(tmp_path))
    assert verify_gpu.sanitizer() == path
    assert verify_gpu.memcheck(EMPTY) == Result(passed=1)
    tool(Path(path), 86)
    with pytest.raises(Failed, match=r"exit status 86\n--tool=racecheck .*parity\.py"):
        verify_gpu.racecheck(EMPTY)


@pytest.mark.parametrize("status", [0, 1])
def test_a_broken_checkout_has_an_unknown_commit(
    status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify_gpu, "ROOT", tmp_path)
    unknown = {"commit": "unknown", "dirty": None}
    assert verify_gpu.commit(None) == unknown  # no repository
    (tmp_path / ".git").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert verify_gpu.commit(None) == unknown  # no git
    tool(tmp_path / "git", status)
    told = {"commit": "rev-parse HEAD", "dirty": True}
    assert verify_gpu.commit(None) == (told if status == 0 else unknown)
    assert verify_gpu.commit("abc") == {"commit": "abc", "dirty": None}


def test_the_file_is_named_by_date_device_and_commit() -> None:
    about = {"date": "2026-11-21T02:03:04+00:00", "device": "NVIDIA H100 80GB HBM3"}
    about |= {"commit": "0123456789abcdef"}
    assert verify_gpu.file_name(about) == "2026-11-21_nvidia-h100-80gb-hbm3_0123456789.json"


# The parts themselves


def test_losses_that_differ_are_named() -> None:
    cpu = np.array([2.0, 1.0])
    assert parts.compare_losses(cpu, cpu + 1e-6, 1e-5) == ""
    assert parts.compare_losses(cpu, cpu + np.array([0, 3e-5]), 1e-5).startswith("step 2: ")
    assert parts.compare_losses(cpu, np.array([np.nan, 1.0]), 1e-5).startswith("step 1: ")
    assert "did not fall" in parts.compare_losses(cpu[:1], cpu[:1], 1e-5)


def test_masks_that_differ_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    usable, reason = simgpu.available()
    if not usable:
        pytest.skip(reason)
    model = parts.gn.MLP([64, 100, 10], dropout=0.5)
    with simgpu.activate():
        assert parts.compare_masks(model, "float32") == ""
        right = parts.functional._dropout.reference
        monkeypatch.setattr(
            parts.functional._dropout, "reference", lambda x, *a: np.roll(right(x, *a), 1)
        )
        assert parts.compare_masks(model, "float32").startswith("step 1: ")


@pytest.fixture
def sim() -> Iterator[None]:
    usable, reason = simgpu.available()
    if not usable:
        pytest.skip(reason)
    with simgpu.activate():
        yield


def swapped(a: Any, b: Any, out: Any, add: bool = False) -> None:
    """gemm, with the first two rows of the result exchanged."""
    gemm(a, b, out, add)
    out[:2] = out[1::-1] if len(out) > 1 else out


def not_adding(a: Any, b: Any, out: Any, add: bool = False) -> None:
    gemm(a, b, out)


def test_products_that_are_wrong_are_named(sim: None, monkeypatch: pytest.MonkeyPatch) -> None:
    size = parts.SIZES[0]
    assert parts.compare_product("float32", size, "a") == ""
    monkeypatch.setattr(parts.gemm, "gemm", swapped)
    assert parts.compare_product("float32", size, "a").startswith("error ")
    assert parts.compare_replay().startswith("error ")
    monkeypatch.setattr(parts.gemm, "gemm", not_adding)
    assert parts.compare_product("float32", size, "a").endswith("when added")
    assert parts.compare_replay().startswith("error ")


def test_a_precision_without_effect_or_past_its_bound_is_named(
    sim: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert parts.compare_precision("tf32", 1e-3) == ""
    assert "promised 1e-09" in parts.compare_precision("tf32", 1e-9)
    monkeypatch.setattr(parts.gn, "matmul_precision", nullcontext)
    assert parts.compare_precision("tf32", 1e-3) == "no effect"


# The step: each check finds what it is there for


@pytest.fixture
def rich(sim: None) -> Any:
    """A small net with BatchNorm and Dropout."""
    return step_checks.nets("sim")["W2"]


def test_a_fused_step_that_differs_is_named(rich: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    right = on_cupy.softmax_loss

    def with_share(factor: float) -> None:
        def wrong(*given: Any) -> None:
            *before, share, add, work = given
            right(*before, factor * share, add, work)

        monkeypatch.setattr(on_cupy, "softmax_loss", wrong)

    assert step_checks.compare_fused(rich, "float64") == ""
    with_share(1 + 1e-9)
    assert step_checks.compare_fused(rich, "float64").startswith("gradients: error ")
    monkeypatch.setattr(step_checks, "gradient_error", lambda *_: 0)
    with_share(1.1)
    assert step_checks.compare_fused(rich, "float64").startswith("losses: error ")
    monkeypatch.setattr("gpunet.fused.plan.read", lambda *_: "a reason")
    assert step_checks.compare_fused(rich, "float64") == "not fused: a reason"


@pytest.fixture
def other_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recorded Dropout draws what is another step's."""
    right = gn.Dropout.follow
    monkeypatch.setattr(gn.Dropout, "follow", lambda self, c: right(self, c) + c.capturing)


def test_a_captured_step_that_differs_is_named(rich: Any, other_masks: None) -> None:
    make = step_checks.maker(rich, "float32")
    assert step_checks.compare_captured(make, rich).startswith("step 2: loss ")
    assert step_checks.compare_own(rich) == "step 2: another loss"
    assert step_checks.compare_training(rich, "float32").startswith("losses: ")
    found = step_checks.in_a_thread(lambda: step_checks.compare_captured(make, rich))
    assert found.startswith("step 2: loss ")


def test_a_step_that_no_graph_was_made_of_is_named(
    rich: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_checks.gn, "capture", Uncaptured)
    make = step_checks.maker(rich, "float32")
    assert step_checks.compare_captured(make, rich) == "not one graph"


class Uncaptured:
    """A step that is called as it is."""

    replay = None

    def __init__(self, step: Any) -> None:
        self.step = step

    def __call__(self, *arrays: Any) -> Any:
        return self.step(*arrays)


def test_memory_that_a_graph_shares_with_others_is_named(
    rich: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = step_checks.maker(rich, "float32", fuse=False)
    around = step_checks.other_memory()
    assert step_checks.compare_captured(make, rich, around=around) == ""
    cupy = gn.backend.cupy()
    monkeypatch.setattr(cupy.cuda, "using_allocator", nullcontext)
    spoilt = step_checks.outcome(lambda: step_checks.compare_captured(make, rich, around=around))
    assert "loss" in spoilt or "illegal memory access" in spoilt


def test_a_recording_that_is_used_although_it_is_stale_is_named(
    rich: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = step_checks.CHANGES["eps"]
    assert step_checks.compare_stale(rich, change) == ""
    monkeypatch.setattr(gn.clock.Clock, "structure", lambda self: [])
    assert step_checks.compare_stale(rich, change) == "the recording is not stale"
    monkeypatch.setattr(gn.replay.Recording, "stale", True)
    assert step_checks.compare_stale(rich, change) == "step 5: another loss"


def test_rows_that_are_streamed_wrongly_are_named(
    rich: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = HostRows.read_into
    monkeypatch.setattr(HostRows, "read_into", lambda self, rows, out: right(self, rows[::-1], out))
    assert step_checks.compare_streaming(rich, "float64").startswith("losses: ")


def test_nodes_of_a_graph_as_cuda_draws_it() -> None:
    class Drawn:
        def debug_dot_str(self) -> str:
            return """digraph dot {
subgraph cluster_1 {
label="graph_1" graph[style="dashed"];
"graph_1_node_0"[style="solid" shape="rectangle" label="0
MEMSET"];
"graph_1_node_1"[style="bold" shape="octagon" label="1
gpunet_nn_gather"];

"graph_1_node_0" -> "graph_1_node_1";
}
}
"""

    assert step_timings.nodes(Drawn()) == 2
    assert step_timings.nodes(object()) is None
