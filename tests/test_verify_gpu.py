"""benchmarks.verify_gpu: the whole command on the simulated GPU, and every way it can fail."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from benchmarks import records, verify_gpu
from benchmarks.gpu import (
    digits,
    nets,
    processes,
    products,
    stages,
    stale,
    step_timings,
    steps,
    update_timings,
)
from benchmarks.gpu.processes import Failed, Result
from benchmarks.gpu.stages import STAGES, Run, Stage
from gpunet.fused import on_cupy
from gpunet.gemm import gemm
from gpunet.testing import simgpu
from gpunet.train.stream import HostRows

GOOD = "def test_on_a_device(xp):\n    assert xp.ones(3).sum() == 3\n"
PLAIN = "def test_without_one():\n    assert False, 'not run: it takes no device'\n"
MARK = "\n@pytest.mark.gpu\n"
EMPTY = Run("sim", Path("tests"), Path("tests"), 30)
NAMES = [stage.name for stage in STAGES]
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
    monkeypatch.setattr(stages, "sanitizer", lambda: None)
    # Without this the one file is left out of the suite, as the parity tests are.
    (small / "test_more.py").write_text(GOOD)
    status, found = verify(small)
    assert status == 0, capsys.readouterr().out
    assert found["ok"] is True
    assert found["device"] == "simulated"
    assert (found["failed"], found["skipped"], found["left_out"]) == (0, 0, [])
    assert list(found["stages"]) == NAMES
    assert found["stages"]["suite"]["passed"] == found["stages"]["parity"]["passed"] == 1
    assert found["stages"]["training"]["passed"] == 4
    assert found["stages"]["products"]["passed"] == 43
    assert found["stages"]["step"]["passed"] == 34
    assert found["stages"]["streaming"]["passed"] == 2
    assert found["stages"]["memcheck"]["note"] == "not installed"
    assert found["stages"]["beside"]["note"] == "no GPU"
    assert found["passed"] == sum(p["passed"] for p in found["stages"].values())
    for key in ("driver", "cuda_runtime", "cupy", "python", "numpy", "commit", "dirty", "date"):
        assert key in found
    assert found["timings"].pop(stages.COMPILING)["cold_s"] > 0
    assert found["timings"].keys() >= {
        update_timings.COPY,
        update_timings.ADAM,
        update_timings.EAGER,
        *STEPS,
        *("grid barrier", "graph node", "W5 step, phases", "W5 step, persistent"),
    }
    for timing in found["timings"].values():
        low, high = timing["quartiles_s"]
        assert 0 < low <= timing["median_s"] <= high
        assert timing["rounds"] == step_timings.ROUNDS["sim"]
    # The launches that docs/step.md counts, without the gather of the rows.
    assert found["timings"]["W1 step, captured"]["nodes"] == 10
    assert found["timings"]["W2 step, captured"]["nodes"] == 15


def test_a_failure_and_a_skip_are_counted_and_named(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GPUNET_REQUIRE_SIM", raising=False)  # CI sets it: skips would be failures
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


def test_the_simulated_gpu_passes_for_a_real_one_in_the_tests_for_that(tmp_path: Path) -> None:
    """Those marked `gpu`, by the rules of --gpunet-require-gpu; CI runs the others on sim."""
    usable, reason = simgpu.available()
    if not usable:
        pytest.skip(f"no simulated GPU: {reason}")
    program = tmp_path / "run_pytest.py"
    program.write_text("import sys, pytest\nsys.exit(pytest.main(sys.argv[1:]))\n")
    tests = [f for f in (records.ROOT / "tests").rglob("test_*.py") if MARK in f.read_text("utf-8")]
    options = ["-p", "benchmarks.on_device", "-p", "no:cacheprovider", "--gpunet-device", "cuda"]
    options += ["--gpunet-require-gpu", "-m", "gpu", *map(str, tests)]
    done = subprocess.run(
        [sys.executable, "-m", "gpunet.testing.simgpu", str(program), *options],
        cwd=records.ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "devices: cuda" in done.stdout


def test_without_a_gpu_one_line_status_2_and_no_file(tmp_path: Path) -> None:
    """Where a GPU is usable this hides it: CUDA_VISIBLE_DEVICES."""
    out = tmp_path / "results"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.verify_gpu", "--out", str(out)],
        cwd=records.ROOT,
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
    monkeypatch.setattr(processes, "command", lambda *_: (1, "Traceback:\n  x\nOSError: no\n"))
    assert verify_gpu.main(["--out", str(tmp_path / "results")]) == 2
    expected = "no usable GPU: exit status 1: OSError: no; nothing was run, nothing written\n"
    assert capsys.readouterr().out == expected


def test_a_simulated_run_is_not_written_among_the_results() -> None:
    with pytest.raises(SystemExit):
        verify_gpu.main(["--device", "sim", "--out", str(records.RESULTS)])
    assert verify_gpu._options(["--device", "sim"]).out != records.RESULTS
    assert verify_gpu._options([]).out == records.RESULTS


def test_a_part_takes_less_than_ten_minutes_and_what_is_right_comes_first() -> None:
    for part in (1, 2):
        assert verify_gpu.DEVICE_LIMIT + sum(s.limit for s in STAGES if s.part == part) < 10 * 60
    assert [s.part for s in STAGES] == sorted(s.part for s in STAGES)
    timings = ("optimizer", "training_step", "step_timings", "phases", "beside", "compiling")
    assert [s.name for s in STAGES][-6:] == list(timings)


def test_a_limit_counts_on_a_gpu_and_a_part_leaves_the_other_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On the simulated GPU nothing is short: no machine waits."""
    given: list[Any] = []

    def work(run: Run) -> Result:
        given.append(run.limit)
        return Result(passed=1)

    monkeypatch.setattr(verify_gpu, "child", lambda *_: {"device": "a GPU"})
    two = (Stage("first", 1, 7, work), Stage("second", 2, 8, work))
    monkeypatch.setattr(verify_gpu, "STAGES", two)
    shared = ["--commit", "abc", "--out", str(tmp_path)]
    assert verify_gpu.main(shared) == 0
    assert verify_gpu.main([*shared, "--part", "2"]) == 0
    assert verify_gpu.main([*shared, "--device", "sim", "--only", "first"]) == 1
    assert given == [7, 8, 8, None]
    written = [json.loads(file.read_text()) for file in sorted(tmp_path.glob("*part2.json"))]
    assert [(one["part"], list(one["stages"])) for one in written] == [(2, ["second"])]


def test_where_xdist_is_the_tests_run_in_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 16)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    assert processes.workers() == ["-n", "8"]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert processes.workers() == []


# How a stage can end


def test_a_part_that_hangs_is_ended_with_its_children_and_counted() -> None:
    def hangs(run: Run) -> Result:
        processes.command([sys.executable, "-c", script], 1.0)
        return Result(passed=1)

    script = "import subprocess, time; subprocess.Popen(['sleep', '60']); time.sleep(60)"
    start = time.perf_counter()
    result = Stage("hangs", 1, 1.0, hangs).outcome(EMPTY)
    assert time.perf_counter() - start < 20
    assert result.failures == ["hangs: no result after 1 s"]


def test_a_part_that_crashes_is_counted() -> None:
    def crashes(run: Run) -> Result:
        raise KeyError("timings")

    result = Stage("crashes", 1, 1.0, crashes).outcome(EMPTY)
    assert (result.passed, result.failed) == (0, 1)
    assert "KeyError: 'timings'" in result.failures[0]


def test_a_child_that_fails_says_why() -> None:
    with pytest.raises(Failed, match="KeyError: 'no such function'"):
        processes.child("no such function", "sim", 30)


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
    assert processes.sanitizer() is None
    monkeypatch.setenv("CUDA_PATH", str(tmp_path))
    assert processes.sanitizer() == path
    assert stages.sanitized("memcheck", stages.NO_API_ERRORS)(EMPTY) == Result(passed=1)
    tool(Path(path), 86)
    with pytest.raises(
        Failed,
        match=r"exit status 86\n--tool=racecheck .*--a-word .*parity\.py --few",
    ):
        stages.sanitized("racecheck", "--a-word")(EMPTY)


@pytest.mark.parametrize("status", [0, 1])
def test_a_broken_checkout_has_an_unknown_commit(
    status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "ROOT", tmp_path)
    unknown = {"commit": "unknown", "dirty": None}
    assert records.commit_here() == unknown  # no repository
    (tmp_path / ".git").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert records.commit_here() == unknown  # no git
    tool(tmp_path / "git", status)
    told = {"commit": "rev-parse HEAD", "dirty": True}
    assert records.commit_here() == (told if status == 0 else unknown)
    given = records.header("cpu", "a CPU", threads=2, commit="abc")
    assert {k: given[k] for k in ("commit", "dirty")} == {"commit": "abc", "dirty": None}
    assert {k: given[k] for k in ("place", "device", "threads")} == {
        "place": "cpu", "device": "a CPU", "threads": 2,
    }  # fmt: skip


def test_the_file_is_named_by_date_device_and_commit() -> None:
    about = {"date": "2026-11-21T02:03:04+00:00", "device": "NVIDIA H100 80GB HBM3"}
    about |= {"commit": "0123456789abcdef"}
    name = "2026-11-21_nvidia-h100-80gb-hbm3_0123456789"
    assert records.file_name(about) == f"{name}.json"
    assert records.file_name(about | {"part": 2}) == f"{name}_part2.json"


# The stages themselves


def test_losses_that_differ_are_named() -> None:
    cpu = np.array([2.0, 1.0])
    assert digits.compare_losses(cpu, cpu + 1e-6, 1e-5) == ""
    assert digits.compare_losses(cpu, cpu + np.array([0, 3e-5]), 1e-5).startswith("step 2: ")
    assert digits.compare_losses(cpu, np.array([np.nan, 1.0]), 1e-5).startswith("step 1: ")
    assert "did not fall" in digits.compare_losses(cpu[:1], cpu[:1], 1e-5)


def test_masks_that_differ_are_named(sim: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = gn.MLP([64, 100, 10], dropout=0.5)
    assert digits.compare_masks(model, "float32") == ""
    right = digits.functional.DROPOUT.reference
    monkeypatch.setattr(
        digits.functional.DROPOUT, "reference", lambda x, *a: np.roll(right(x, *a), 1)
    )
    assert digits.compare_masks(model, "float32").startswith("step 1: ")


def swapped(a: Any, b: Any, out: Any, add: bool = False) -> None:
    """gemm, with the first two rows of the result exchanged."""
    gemm(a, b, out, add)
    out[:2] = out[1::-1] if len(out) > 1 else out


def not_adding(a: Any, b: Any, out: Any, add: bool = False) -> None:
    gemm(a, b, out)


def test_products_that_are_wrong_are_named(sim: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    size = products.SIZES[0]
    assert products.compare_product("float32", size, "a") == ""
    monkeypatch.setattr(products.gemm, "gemm", swapped)
    assert products.compare_product("float32", size, "a").startswith("error ")
    assert products.compare_replay().startswith("error ")
    monkeypatch.setattr(products.gemm, "gemm", not_adding)
    assert products.compare_product("float32", size, "a").endswith("when added")
    assert products.compare_replay().startswith("error ")


def test_a_precision_without_effect_or_past_its_bound_is_named(
    sim: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert products.compare_precision("tf32", 1e-3, "sim") == ""
    assert "promised 1e-09" in products.compare_precision("tf32", 1e-9, "sim")
    monkeypatch.setattr(products.gn, "matmul_precision", nullcontext)
    assert products.compare_precision("tf32", 1e-3, "sim") == "no effect"


# The step: each check finds what it is there for


@pytest.fixture
def rich(sim: Any) -> Any:
    """A small net with BatchNorm and Dropout."""
    return nets.nets("sim")["W2"]


def test_a_fused_step_that_differs_is_named(rich: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    right = on_cupy.softmax_loss

    def with_share(factor: float) -> None:
        def wrong(*given: Any) -> None:
            *before, share, add, work = given
            right(*before, factor * share, add, work)

        monkeypatch.setattr(on_cupy, "softmax_loss", wrong)

    assert steps.compare_fused(rich, "float64") == ""
    with_share(1 + 1e-9)
    assert steps.compare_fused(rich, "float64").startswith("gradients: error ")
    monkeypatch.setattr(steps, "gradient_error", lambda *_: 0)
    with_share(1.1)
    assert steps.compare_fused(rich, "float64").startswith("losses: error ")
    monkeypatch.setattr("gpunet.fused.plan.read", lambda *_: "a reason")
    assert steps.compare_fused(rich, "float64") == "not fused: a reason"


@pytest.fixture
def other_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A captured Dropout draws what is another step's."""
    right = gn.Dropout._enter
    monkeypatch.setattr(gn.Dropout, "_enter", lambda self, c: right(self, c) + c.capturing)


def test_a_captured_step_that_differs_is_named(rich: Any, other_masks: None) -> None:
    make = nets.maker(rich, "float32")
    assert steps.compare_captured(make, rich).startswith("step 2: loss ")
    assert steps.compare_own(rich) == "step 2: another loss"
    assert steps.compare_training(rich, "float32").startswith("losses: ")
    found = steps.in_a_thread(lambda: steps.compare_captured(make, rich))
    assert found.startswith("step 2: loss ")


def test_a_step_that_no_graph_was_made_of_is_named(
    rich: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps.gn, "capture", Uncaptured)
    make = nets.maker(rich, "float32")
    assert steps.compare_captured(make, rich) == "not one graph"


class Uncaptured:
    """A step that is called as it is."""

    graphs = None

    def __init__(self, step: Any) -> None:
        self.step = step

    def __call__(self, *arrays: Any) -> Any:
        return self.step(*arrays)


def test_memory_that_a_graph_shares_with_others_is_named(
    rich: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = nets.maker(rich, "float32", fuse=False)
    around = steps.other_memory()
    assert steps.compare_captured(make, rich, around=around) == ""
    cupy = gn.backend.cupy()
    monkeypatch.setattr(cupy.cuda, "using_allocator", nullcontext)
    spoilt = steps.outcome(lambda: steps.compare_captured(make, rich, around=around))
    assert "loss" in spoilt or "illegal memory access" in spoilt


def test_a_graph_that_is_launched_although_it_no_longer_holds_is_named(
    rich: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = stale.CHANGES["eps"]
    assert stale.compare_stale(rich, change) == ""
    monkeypatch.setattr(gn.counters.Counters, "dependencies", lambda self: [])
    assert stale.compare_stale(rich, change) == "step 5: another loss"


def test_rows_that_are_streamed_wrongly_are_named(
    rich: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = HostRows.read_into
    monkeypatch.setattr(HostRows, "read_into", lambda self, rows, out: right(self, rows[::-1], out))
    assert steps.compare_streaming(rich, "float64").startswith("losses: ")


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
