"""`gpunet bench`: the records it writes, the table it prints, what it counts, and mistakes."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import pytest

from benchmarks.launches import RECORD
from gpunet import threads
from gpunet.bench import places, timing
from gpunet.bench.workloads import Workload, workloads
from gpunet.commands import bench
from gpunet.testing import simgpu
from tests.console import Run

KEYS = {
    *("workload", "device", "mode", "us_per_step", "launches", "d2h_copies", "h2d_copies"),
    *("synchronisations", "bytes_allocated"),
}


@pytest.fixture
def gpunet(gpunet: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`gpunet bench ...`."""
    monkeypatch.setattr(timing, "ROUND_S", 0.001)
    return partial(gpunet, "bench")


@pytest.fixture
def sim(monkeypatch: pytest.MonkeyPatch) -> None:
    """The place "sim" of this checkout, also where none is installed."""
    usable, reason = simgpu.available()
    if not usable:
        pytest.skip(f"no simulated GPU: {reason}")
    point = EntryPoint("sim", "gpunet.testing.bench:simulated", places.GROUP)
    monkeypatch.setattr(places, "entry_points", lambda group: [point])


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
    about, header, first, _ = out.splitlines()
    assert about == f"BLAS: {', '.join(threads.blas())}"
    assert "us/step" in header
    assert first.startswith("W5   cpu    eager")
    assert f"{found[0]['us_per_step']:,.1f}" in first


def test_a_network_of_ones_own_by_the_words_of_train(gpunet) -> None:
    words = ["--hidden", "5,4", "--batch-norm", "--optimizer", "cocob", "--rounds", "1"]
    status, out, err = gpunet("--device", "cpu", *words, "--json", "f.json")
    assert (status, err) == (0, "")
    [found] = json.loads(Path("f.json").read_bytes())
    what = "64-5-4-10 BatchNorm + ReLU + Dropout 0.2, batch 32, COCOB"  # the digits', as in train
    assert (found["workload"], found["what"]) == ("own", what)
    assert out.endswith(f"{what}\n")
    _, out, _ = gpunet("W5", "--device", "cpu", "--hidden", "", "--rounds", "1")
    assert [line[:4] for line in out.splitlines()[2:]] == ["W5  ", "own "]


def test_the_words_of_a_network_make_it_again(gpunet, monkeypatch) -> None:
    """As a GPU's place asks for its counts."""
    seen: list[Workload] = []
    monkeypatch.setattr(bench, "measure", lambda workload, *_: seen.append(workload) or ())
    w2 = workloads("cpu")["W2"]
    given = [
        Workload("own", "lion", (7, 3), 5, activation="leaky_relu"),
        replace(w2, name="own", dropout=0.0),
    ]
    for one in given:
        assert gpunet(*one.words, "--device", "cpu")[0] == 0
    assert seen == given
    assert w2.words == ["W2"]
    assert workloads("cuda")["W3"].words == ["W3c"]


def test_a_blas_that_is_held_back_is_told_of_first(gpunet, monkeypatch) -> None:
    monkeypatch.setattr(bench.blas, "pinned", lambda: "WARNING: held back")
    _, out, _ = gpunet("W5", "--device", "cpu", "--rounds", "1")
    assert out.splitlines()[1] == "WARNING: held back"


def recorded(name: str) -> dict[str, list[float]]:
    """What the page on the step says that it asks for, by mode."""
    found: dict[str, list[float]] = json.loads(RECORD.read_bytes())["now"][name]
    return {mode: counts for mode, counts in found.items() if mode != "training"}


@pytest.mark.usefixtures("sim")
def test_on_the_simulated_gpu_it_counts_and_tells_no_time(gpunet) -> None:
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
    assert 1 <= captured["launches"] < eager["launches"] == eager["kernels"]
    assert captured["kernels"] == eager["kernels"] + 1  # the counters
    phases, persistent = found["W5", "phases"], found["W5", "persistent"]
    assert (phases["launches"], phases["kernels"]) == (1, 2)
    assert persistent["launches"] == persistent["kernels"] == 0.1  # ten steps in one
    for step in (phases, persistent):
        assert step["bytes_allocated"] == step["synchronisations"] == 0
    for mode, (launches, kernels, _, waits, size) in recorded("W5").items():
        one = found["W5", mode]
        assert (one["launches"], one["kernels"]) == (launches, kernels)
        assert (one["synchronisations"], one["bytes_allocated"]) == (waits, size)
    assert out.count("simulated: no time") == len(found)


@pytest.mark.usefixtures("sim")
def test_what_does_not_run_in_phases_says_why(gpunet) -> None:
    words = ["--features", "3", "--hidden", "4", "--batch-size", "300", "--rounds", "1"]
    _, out, _ = gpunet("--device", "sim", *words)
    _, eager, captured = out.splitlines()
    assert "phases" not in eager
    assert captured.endswith("; not in phases: batches of 300 rows; up to 256 run in phases")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["W7"], "'W7' is no workload; there are W1, W2, W3c, W4a, W4b, W5, W6"),
        (["W"], "'W' is no workload"),
        (["W3"], "W3 needs a GPU (--device cuda); W3c is its stand-in elsewhere"),
        (["--device", "tpu"], "'tpu' is not one of"),
        (["W5", "--rounds", "0"], "0 is not in the range"),
        (["--hidden", "3,x"], "'3,x' is not a list of layer sizes"),
        (["--optimizer", "adm"], "unknown optimizer 'adm'; did you mean adam"),
        (["--classes", "1"], "1 is not in the range"),
        (["--batch-norm", "--batch-size", "1"], "batch_norm in training needs at least 2 rows"),
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


@pytest.mark.usefixtures("sim")
def test_without_a_compiler_sim_says_why(gpunet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simgpu, "available", lambda: (False, "g++ is missing"))
    status, _, err = gpunet("W5", "--device", "sim")
    assert (status, err) == (2, "gpunet: no simulated GPU: g++ is missing\n")


@pytest.mark.skipif(not entry_points(group=places.GROUP), reason="gpunet is not installed")
@pytest.mark.usefixtures("sim")
def test_counts_of_a_gpu_come_from_a_simulation_in_another_process() -> None:
    own = Workload("own", "cocob", (5, 4, 3), 6, batch_norm=True, dropout=0.3, activation="tanh")
    found = places.elsewhere(own, "eager")
    assert found["launches"] > 1
    assert set(places.elsewhere(own, "no such mode").values()) == {None}
