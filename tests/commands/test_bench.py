"""`gpunet bench`: the records it writes, the table it prints, what it counts, and mistakes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpunet.bench import counting, timing, workloads
from gpunet.bench.workloads import Workload, chosen
from gpunet.cli import main
from gpunet.commands import bench
from gpunet.testing import simgpu

KEYS = {
    *("workload", "device", "mode", "us_per_step", "launches", "d2h_copies", "h2d_copies"),
    *("synchronisations", "bytes_allocated"),
}
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def gpunet(monkeypatch: pytest.MonkeyPatch, capsys: Capture, tmp_path: Path):
    """Calls the console command in an empty folder: (exit status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(timing, "ROUND_S", 0.001)

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["gpunet", "bench", *words])
        try:
            main()
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
        out, err = capsys.readouterr()
        return status, out, err

    return call


def need_sim() -> None:
    usable, reason = simgpu.available()
    if not usable:
        pytest.skip(f"no simulated GPU: {reason}")


def test_on_the_cpu_it_times_and_knows_the_bytes_and_nothing_of_launches(gpunet) -> None:
    status, out, err = gpunet("w5", "W1", "--device", "cpu", "--rounds", "3", "--json", "f.json")
    assert (status, err) == (0, "")
    found = json.loads(Path("f.json").read_bytes())
    assert [one["workload"] for one in found] == ["W5", "W1"]
    for one in found:
        assert one.keys() >= KEYS
        assert (one["device"], one["mode"], one["rounds"]) == ("cpu", "eager", 3)
        low, high = one["quartiles_us"]
        assert 0 < low <= one["us_per_step"] <= high
        assert one["launches"] is one["d2h_copies"] is one["synchronisations"] is None
        assert one["bytes_allocated"] > 0
    header, first, _ = out.splitlines()
    assert "us/step" in header
    assert first.startswith("W5   cpu    eager")
    assert f"{found[0]['us_per_step']:,.1f}" in first


def test_on_the_simulated_gpu_it_counts_and_tells_no_time(gpunet) -> None:
    need_sim()
    status, out, err = gpunet("W4", "W5", "--device", "sim", "--rounds", "1", "--json", "f.json")
    assert (status, err) == (0, "")
    found = {(o["workload"], o["mode"]): o for o in json.loads(Path("f.json").read_bytes())}
    for name in ("W4a", "W4b"):  # one launch, however many tensors
        one = found[name, "eager"]
        assert one["device"] == "sim"
        assert (one["launches"], one["bytes_allocated"], one["d2h_copies"]) == (1, 0, 0)
    eager, captured = found["W5", "eager"], found["W5", "captured"]
    for step in (eager, captured):
        assert step["d2h_copies"] == step["h2d_copies"] == step["synchronisations"] == 0
    assert 1 <= captured["launches"] < eager["launches"]
    assert out.count("simulated: no time") == len(found)


def test_counts_are_of_one_step() -> None:
    need_sim()
    with simgpu.activate() as cupy:
        x = cupy.zeros(100, np.float32)

        def run(steps: int) -> None:
            for _ in range(steps):
                x.get()
                cupy.add(x, x)
                cupy.add(x, x)

        found = counting.counts(run, "sim", "W1", "eager")
    assert found["launches"] == 2
    assert found["d2h_copies"] == 1
    assert found["h2d_copies"] == 0
    assert found["bytes_allocated"] == 2 * 512


def test_bytes_on_the_cpu_are_those_held_at_once() -> None:
    def run(steps: int) -> None:
        for _ in range(steps):
            np.ones(10**6, np.uint8)
            np.ones(10**6, np.uint8)

    found = counting.counts(run, "cpu", "W1", "eager")
    assert 10**6 <= found["bytes_allocated"] < 1.5 * 10**6


def test_counts_of_a_gpu_come_from_a_simulation_in_another_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    need_sim()
    found = counting._in_simulation("W5", "eager")
    assert found.keys() == set(counting.COUNTS)
    assert found["launches"] > 1
    assert counting._in_simulation("W5", "no such mode") == {}
    assert counting._in_simulation("W99", "eager") == {}
    monkeypatch.setattr(simgpu, "available", lambda: (False, "no g++"))
    assert counting._in_simulation("W5", "eager") == {}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["W7"], "'W7' is no workload; there are W1, W2, W3c, W4a, W4b, W5, W6"),
        (["W"], "'W' is no workload"),
        (["W3"], "W3 needs a GPU (--device cuda); W3c is its stand-in elsewhere"),
        (["--device", "tpu"], "'tpu' is not one of"),
        (["W5", "--rounds", "0"], "0 is not in the range"),
        (["W5", "--json", "none/f.json"], "--json none/f.json: there is no folder none"),
        (["W6", "--data", "nowhere"], "'nowhere' does not exist"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(gpunet, words: list[str], said: str) -> None:
    status, out, err = gpunet("--device", "cpu", *words)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert said in err


def test_data_that_does_not_fit_is_a_mistake(gpunet, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    status, _, err = gpunet("W6", "--device", "cpu", "--data", "empty")
    assert (status, err.count("\n")) == (2, 1)
    assert "empty" in err


def test_without_a_gpu_cuda_says_why(gpunet, monkeypatch: pytest.MonkeyPatch) -> None:
    reason = bench.common.machine.Problem("no driver", "get one")
    monkeypatch.setattr(bench.common.machine, "driver", lambda: reason)
    monkeypatch.setattr(bench.common.machine, "problems", lambda: [reason])
    assert gpunet("W5", "--device", "cuda") == (
        2,
        "",
        "gpunet: --device cuda: no driver; get one\n",
    )


def test_without_a_compiler_sim_says_why(gpunet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simgpu, "available", lambda: (False, "g++ is missing"))
    status, _, err = gpunet("W5", "--device", "sim")
    assert (status, err) == (2, "gpunet: --device sim: no simulated GPU: g++ is missing\n")


def test_what_a_gpu_is_measured_by(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "_copy_rate", lambda: 2.8e12)
    monkeypatch.setattr(bench, "_gemm_rate", lambda: 5e13)
    known = workloads.workloads("cuda")
    assert bench._shares(known["W4b"], 2e-3) == {"share_of_copy": pytest.approx(0.5)}
    assert bench._shares(known["W3"], 0.02)["share_of_gemm"] == pytest.approx(0.58, abs=0.01)
    assert bench._shares(known["W2"], 1.0) == {}


# The workloads


def test_they_are_what_they_say() -> None:
    known = workloads.workloads("cpu")
    assert known["W2"].text == ("784-256-128-10 BatchNorm + ReLU + Dropout 0.5, batch 128, Adam")
    assert known["W4b"].text == "Adam alone, 2 million parameters in 20 tensors"
    assert known["W6"].steps_a_round == 468
    assert known["W1"].flops == 2 * 100 * (2 * 784 * 100 + 3 * 100 * 10)
    big = workloads.workloads("cuda")
    assert big["W3"].sizes == (1024, 4096, 4096, 1000)
    assert big["W4a"].parameters == 10**8
    assert [w.name for w in chosen(("w4", "W1"), "cpu")] == ["W4a", "W4b", "W1"]
    assert chosen((), "cuda") == list(big.values())


def test_the_tensors_of_an_update_have_all_parameters() -> None:
    tensors = workloads.start(Workload("W4b", "adam", tensors=3, parameters=10))
    assert [t.size for t in tensors] == [4, 3, 3]


def test_a_step_learns_and_the_tape_does_the_same() -> None:
    w5 = workloads.workloads("cpu")["W5"]
    x, t = workloads.rows(w5)
    losses = []
    for fuse in (True, False):
        step = workloads.training_step(w5, "cpu", fuse=fuse)
        losses.append([float(step(x, t)) for _ in range(20)])
    assert losses[0][-1] < losses[0][0]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)


def test_an_epoch_goes_through_new_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    w6 = Workload("W6", "sgd", (4, 3, 2), 5, rows=12)
    seen: list[Any] = []
    x = np.arange(48, dtype=np.float32).reshape(12, 4)
    monkeypatch.setattr(workloads, "rows", lambda *_: (x, np.arange(12) % 2))
    monkeypatch.setattr(workloads, "training_step", lambda *_: lambda x, t: seen.append(x[:, 0]))
    workloads.runner(w6, "cpu")(4)
    assert len(seen) == 4
    for epoch in (0, 2):
        rows = np.concatenate(seen[epoch : epoch + 2]) / 4
        assert len(set(rows.tolist())) == 10
    assert not np.array_equal(seen[0], seen[2])


def test_fashion_mnist_is_read_where_it_is(tmp_path: Path) -> None:
    w6 = Workload("W6", "sgd", (64, 3, 10), 5, rows=12)
    np.savez(
        tmp_path / "d.npz",
        x_train=np.ones((30, 64), np.float32),
        t_train=np.arange(30) % 3,
        x_test=np.ones((9, 64), np.float32),
        t_test=np.arange(9) % 3,
    )
    x, t = workloads.rows(w6, str(tmp_path / "d.npz"))
    assert x.shape[1] == 64
    assert len(x) == len(t) <= 30
    wider = Workload("W6", "sgd", (65, 3, 10), 5, rows=12)
    with pytest.raises(ValueError, match="W6 takes rows of 65 numbers"):
        workloads.rows(wider, str(tmp_path / "d.npz"))


def test_a_step_off_the_cpu_is_measured_captured_too() -> None:
    w1, w4 = (workloads.workloads("sim")[n] for n in ("W1", "W4a"))
    assert workloads.modes(w1, "sim") == workloads.modes(w1, "cuda") == ["eager", "captured"]
    assert workloads.modes(w1, "cpu") == workloads.modes(w4, "sim") == ["eager"]


# Time


def test_a_round_is_filled_with_steps() -> None:
    done: list[int] = []
    assert timing.steps_in(done.append, lambda: None, 0.0) == 1
    assert timing.quartiles([1.0]) == (1, 1, 1)
    assert timing.quartiles([4.0, 1.0, 3.0, 2.0, 5.0]) == (2, 3, 4)


def test_a_slow_step_is_a_round_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "round_s", lambda run, steps, wait: 0.002)
    assert timing.steps_in(lambda steps: None, lambda: None, 0.03) == 15
    monkeypatch.setattr(timing, "round_s", lambda run, steps, wait: 1.0)
    assert timing.steps_in(lambda steps: None, lambda: None, 0.03) == 1
