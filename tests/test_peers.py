"""benchmarks.peers and what is made of its records: comparison, turns, tables, charts; growth."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import charts, growth, machine, records, tables, threads
from benchmarks.peers import by_hand, command, comparing, options, ours, rounds
from benchmarks.peers.base import Peer, Training
from benchmarks.workloads import Task, task, tiny, workloads

ROOT = Path(__file__).resolve().parent.parent
NAMES = list(workloads("cpu"))
TRAININGS = [n for n in NAMES if not n.startswith("W4")]


def small(name: str) -> Task:
    return task(tiny(workloads("cpu")[name]), "cpu")


def peers_command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.peers", *words],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


# The command


def test_the_whole_command(tmp_path: Path) -> None:
    """Compiling takes long and is left to those who measure."""
    words = ("W1", "W2", "W4b", "W6", "--quick", "--out", str(tmp_path), "--without", "compile")
    done = peers_command(*words, "--device", "cpu", "--commit", "abc")
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = tmp_path.glob("*.json")
    found = json.loads(file.read_bytes())
    assert (found["place"], found["threads"], found["commit"]) == ("cpu", 2, "abc")
    assert found["quick"] is True
    assert found["versions"]["numpy"] == np.__version__
    assert list(found["workloads"]) == ["W1", "W2", "W4b", "W6"]
    for library in found["missing"]:
        assert f"{library} is left out: not installed" in done.stdout
    assert not {"gpunet", "NumPy"} & found["missing"].keys()
    for workload in found["workloads"].values():
        assert workload["failed"] == {}
        assert {"gpunet", "NumPy by hand"} <= workload["peers"].keys()
        for one in workload["peers"].values():
            low, high = one["quartiles_us"]
            assert 0 < low <= one["us_per_step"] <= high
            assert one["times_gpunet"] > 0
            assert one["loss_error"] <= 5e-3
        assert workload["peers"]["gpunet"]["times_gpunet"] == 1


def test_a_mistake_is_one_line_and_status_2() -> None:
    done = peers_command("W9", "--device", "cpu")
    assert (done.returncode, done.stdout.count("\n")) == (2, 1)
    assert "'W9' is no workload" in done.stdout


def test_without_a_gpu_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trouble = command.machine.Problem("no driver", "get one")
    monkeypatch.setattr(command.machine, "problems", lambda: [trouble])
    assert command.run(options.read(["--device", "cuda"])) == 2
    assert capsys.readouterr().out == "benchmarks.peers: no usable GPU: no driver\n"


@pytest.mark.parametrize(
    "words", [["--quick"], ["--quick", "--out", str(options.RESULTS)], ["--rounds", "0"]]
)
def test_options_that_are_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        options.read(["--device", "cpu", *words])
    assert end.value.code == 2


def test_a_library_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "benchmarks.peers.with_jax", None)
    modules, missing = command.loaded()
    assert missing["JAX"].startswith("not installed (")
    assert modules["NumPy"] is by_hand


def test_a_failure_is_status_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {"peers": {}, "failed": {"PyTorch eager": "computes something else"}}
    monkeypatch.setattr(command, "measured", lambda *_: wrong)
    words = ["W1", "--device", "cpu", "--out", str(tmp_path)]
    assert command.run(options.read(words)) == 1
    assert command.run(options.read([*words, "--commit", "c"])) == 1
    assert len(list(tmp_path.glob("*.json"))) == 2


# Comparison


@pytest.mark.parametrize("name", NAMES)
def test_numpy_by_hand_computes_what_gpunet_does(name: str) -> None:
    one = small(name)
    makes = ours.peers(one.workload, "cpu") | by_hand.peers(one.workload, "cpu")
    peers, errors, failed = command.compared(one, makes)
    assert failed == {}
    assert peers.keys() == makes.keys()
    assert errors["NumPy by hand"] < 1e-5


@pytest.mark.parametrize("name", ["W2", "W3c"])
def test_every_gradient_by_hand_has_the_right_size(name: str) -> None:
    """Adam does not care how large a gradient is; SGD does."""
    plain = replace(tiny(workloads("cpu")[name]), optimizer="sgd", lr=0.1, dropout=0.0)
    one = task(plain, "cpu")
    _, errors, failed = command.compared(
        one, ours.peers(plain, "cpu") | by_hand.peers(plain, "cpu")
    )
    assert failed == {}
    assert errors["NumPy by hand"] < 1e-5


@pytest.mark.parametrize("name", ["W2", "W4b", "W5"])
def test_other_libraries_do_too(name: str) -> None:
    one = small(name)
    modules, _ = command.loaded()
    makes: dict[str, Any] = {}
    for module in modules.values():
        makes |= module.peers(one.workload, "cpu")
    slow = [n for n in makes if "compile" in n]
    _, _, failed = command.compared(one, {n: m for n, m in makes.items() if n not in slow})
    assert failed == {}


def other(change: Any, make: Any, one: Task) -> Peer:
    return make(replace(one, workload=replace(one.workload, **change)))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("W1", {"lr": 0.101}),
        ("W1", {"optimizer": "momentum"}),
        ("W2", {"lr": 1.1e-3}),
        ("W2", {"batch_norm": False}),
        ("W4a", {"optimizer": "sgd"}),
        ("W5", {"optimizer": "sgd"}),
    ],
)
def test_a_peer_that_computes_something_else_is_an_error(name: str, change: Any) -> None:
    one = small(name)
    make = by_hand.Net if one.workload.sizes else by_hand.NumpyUpdate
    makes = {**ours.peers(one.workload, "cpu"), "wrong": partial(other, change, make)}
    peers, _, failed = command.compared(one, makes)
    assert "wrong" not in peers
    assert failed["wrong"].startswith("computes something else: loss ")


def test_a_peer_without_its_dropout_is_an_error() -> None:
    one = small("W2")
    makes = {
        **ours.peers(one.workload, "cpu"),
        "by hand": by_hand.Net,
        "wrong": lambda t: by_hand.Net(replace(t, dropout=0.0)),
    }
    _, _, failed = command.compared(one, makes)
    assert list(failed) == ["wrong"]
    assert "mean loss with dropout" in failed["wrong"]


def test_a_peer_that_crashes_is_told_and_the_others_go_on() -> None:
    def crashes(one: Task) -> Peer:
        raise RuntimeError("no\ncompiler")

    one = small("W5")
    makes = {**ours.peers(one.workload, "cpu"), "PyTorch compile": crashes}
    peers, _, failed = command.compared(one, makes)
    assert failed == {"PyTorch compile": "RuntimeError: no compiler"}
    assert "gpunet" in peers


def test_a_nan_and_too_few_losses_are_no_agreement() -> None:
    assert comparing.problem([1.0, 2.0], [1.0, 2.0], 1e-5) == ""
    assert "at step 2" in comparing.problem([1.0, np.nan], [1.0, 2.0], 1e-5)
    assert comparing.problem([1.0], [1.0, 2.0], 1e-5) == "1 losses, expected 2"
    assert comparing.error([1.0, 4.2], [1.0, 4.0]) == pytest.approx(0.05)
    assert comparing.dropout_problem([np.nan], [1.0])


def test_an_update_is_compared_with_gradients_that_change() -> None:
    """With the same gradient each time a wrong beta2 would not show."""
    one = small("W4a")
    way = ours.OurUpdate(one).losses(3)
    assert way[0] == pytest.approx(-np.abs(one.gradients[0][:1000]).mean(), rel=1e-3)
    assert abs(way[2] - way[1]) < 0.9 * abs(way[1] - way[0])


def test_dropout_by_hand_keeps_half_and_doubles_it() -> None:
    layer = by_hand.Hidden(by_hand.Flat(2000), np.eye(16, dtype="f"), 4096, False, 0.5)
    y = layer.forward(np.ones((4096, 16), np.float32))
    assert set(np.unique(y)) == {0, 2}
    assert abs(y.mean() - 1) < 0.03


# Turns


class Slow(Peer):
    """Takes `times[k]` seconds a step in its k-th round, by a clock that all share."""

    clock = 0.0
    turns: list[str] = []  # noqa: RUF012 - shared on purpose

    def __init__(self, name: str, *times: float) -> None:
        self.name, self.times = name, list(times)

    def run(self, steps: int) -> None:
        Slow.turns.append(self.name)
        Slow.clock += steps * self.times.pop(0)


def test_all_take_their_turn_in_each_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.perf_counter", lambda: Slow.clock)
    monkeypatch.setattr(Slow, "turns", [])
    peers = {"gpunet": Slow("g", 1, 2, 4), "PyTorch eager": Slow("t", 3, 4, 20)}
    seconds, steps = rounds.interleaved(peers, 3, 0.03, steps=5, pause=0.0)
    assert Slow.turns == ["g", "t", "t", "g", "g", "t"]
    assert seconds == {"gpunet": [1, 2, 4], "PyTorch eager": [3, 4, 20]}
    assert steps == {"gpunet": 5, "PyTorch eager": 5}
    torch = rounds.summary(seconds, "PyTorch eager")
    assert torch["times_gpunet"] == 3  # the median of 3, 2 and 5, not 4 / 2
    assert torch["us_per_step"] == 4e6
    assert rounds.summary(seconds, "gpunet")["times_pytorch"] == pytest.approx(1 / 3)
    assert rounds.summary({"gpunet": [1.0]}, "gpunet")["times_pytorch"] is None


def test_an_epoch_has_new_rows_for_every_peer() -> None:
    class Looks(Training):
        def update(self, x: Any, t: Any) -> float:
            return float(x.sum())

    one = small("W6")
    peer = Looks(one)
    steps = len(one.x) // one.workload.batch
    first, second = peer.losses(steps), peer.losses(steps)
    assert sum(first) == pytest.approx(float(one.x.sum()), rel=1e-5)
    assert first != second
    assert Looks(one).losses(steps) == first


def test_threads_are_set_before_anything_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(os, "execv", lambda *words: started.append(words))
    if hasattr(os, "sched_setaffinity"):
        kept: list[Any] = []
        monkeypatch.setattr(os, "sched_setaffinity", lambda _, cores: kept.append(cores))
        threads.limit(1, "cpu")
        assert len(kept[0]) == 1
    os.environ.update(dict.fromkeys(threads.POOLS, "7"))
    started.clear()
    threads.limit(3, "cuda")
    assert len(started) == 1
    assert {os.environ[name] for name in threads.POOLS} == {"3"}
    threads.limit(3, "cuda")
    assert len(started) == 1


# What is made of the records


def figures(us: float, times: float | None) -> dict[str, Any]:
    return {"us_per_step": us, "quartiles_us": [0.9 * us, 1.2 * us], "times_gpunet": times}


def record(**changes: Any) -> dict[str, Any]:
    peers = {
        "gpunet": figures(340.4, 1.0),
        "PyTorch eager": figures(1234.5, 3.6),
        "JAX jit": figures(500, 1.512),
    }
    return {
        "date": "2026-11-21T02:03:04+00:00",
        "place": "cpu",
        "device": "Some CPU",
        "threads": 2,
        "commit": "0123456789abcdef",
        "dirty": False,
        "quick": False,
        "versions": {"gpunet": "0.1.0", "torch": "2.13.0"},
        "missing": {},
        "workloads": {"W1": {"what": "784-100-10", "peers": peers, "failed": {}}},
    } | changes


def write(folder: Path, name: str, content: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(content))


def test_the_table_says_what_the_record_says(tmp_path: Path) -> None:
    write(tmp_path / "peers", "a.json", record())
    text = "\n".join(f"{a}\n{b}" for a, b in map(tables.marks, (tables.GPU, tables.PEERS)))
    for language in ("en", "ko"):
        lines = tables.with_tables(text, tmp_path, language).splitlines()
        assert "Some CPU, 2 threads; commit 0123456789, 2026-11-21; gpunet 0.1.0, torch 2.13.0" in (
            lines
        )
        assert "| W1 | 784-100-10 | 340 us | 1.23 ms | 3.60 | 1.51 | - |" in lines
        assert f"| {' | '.join(tables.COMPARED[language])} |" in lines


def test_the_page_has_each_peer_as_a_share_of_pytorch(tmp_path: Path) -> None:
    one = record()
    one["workloads"]["W1"]["peers"]["gpunet"]["times_pytorch"] = 0.276
    one["workloads"]["W4a"] = {"what": "Adam", "peers": {"JAX jit": figures(5, 2)}, "failed": {}}
    write(tmp_path / "peers", "a.json", one)
    lines = tables.with_ratios(
        "\n".join(tables.marks(tables.RATIOS_MARK)), tmp_path, "en"
    ).splitlines()
    assert lines[1] == records.taken_on(one)
    assert lines[3] == "|  | W1 | W4a |"
    assert "| gpunet | 0.28 | - |" in lines


@pytest.mark.parametrize(
    ("us", "text"), [(9.876, "9.88 us"), (43.21, "43.2 us"), (999, "999 us"), (57562, "57.6 ms")]
)
def test_durations_have_three_digits(us: float, text: str) -> None:
    assert tables.duration(us) == text


def test_the_newest_of_each_place_counts_and_a_try_does_not(tmp_path: Path) -> None:
    write(tmp_path, "a.json", record(date="2027-01-02", device="new"))
    write(tmp_path, "b.json", record(date="2026-01-02", device="old"))
    write(tmp_path, "c.json", record(date="2028-01-02", device="try", quick=True))
    write(tmp_path, "d.json", record(place="cuda", device="GPU"))
    found = records.newest(tmp_path, lambda one: None)
    assert [(place, one["device"]) for place, one in found.items()] == [
        ("cpu", "new"),
        ("cuda", "GPU"),
    ]
    assert records.newest(tmp_path / "none", lambda one: None) == {}


@pytest.mark.parametrize("content", [[], {}, record(workloads={"W1": {}}), record(date=None)])
def test_a_file_of_another_kind_is_named(tmp_path: Path, content: Any) -> None:
    write(tmp_path / "peers", "odd.json", content)
    text = "\n".join(f"{a}\n{b}" for a, b in map(tables.marks, (tables.GPU, tables.PEERS)))
    with pytest.raises(ValueError, match=r"odd\.json: no such record"):
        tables.with_tables(text, tmp_path, "en")


def grown(place: str, times: dict[int, float]) -> dict[str, Any]:
    points = [
        {"series": series, "n": n, "mode": "eager", **figures(us, None)}
        for series in growth.WHAT
        for n, us in times.items()
    ]
    return record(place=place, what=growth.WHAT, points=points)


def test_the_pictures_are_the_same_each_time_and_mark_where_the_gpu_overtakes(
    tmp_path: Path,
) -> None:
    pytest.importorskip("matplotlib")
    write(tmp_path / "peers", "a.json", record())
    write(tmp_path / "growth", "a.json", grown("cpu", {1: 10, 4: 40, 16: 160}))
    drawn = []
    for _ in range(2):
        assert charts.main(["--results", str(tmp_path)]) == 0
        drawn.append([(tmp_path / f).read_text() for f in ("peers-cpu.svg", "growth.svg")])
    assert drawn[0] == drawn[1]
    assert str(tmp_path) not in drawn[0][0] + drawn[0][1]
    write(tmp_path / "growth", "b.json", grown("cuda", {1: 20, 4: 20, 16: 20}))
    figure = charts.growth_figure(records.newest(tmp_path / "growth", lambda one: None))
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert texts.count(" GPU from 2") == len(charts.TITLES)


@pytest.mark.parametrize(
    ("gpu", "expected"),
    [
        ([20, 20, 20], 2.0),
        ([1, 1, 1], 1),
        ([99, 99, 999], None),
        ([5, 50, 80], 4 * (2 ** (2 * np.log(50 / 40) / np.log(2.5)))),
    ],
)
def test_where_the_gpu_overtakes_to_the_end(gpu: list[float], expected: float | None) -> None:
    cpu = {1: 10.0, 4: 40.0, 16: 160.0, 64: 1.0}
    found = charts.crossing(cpu, dict(zip((1, 4, 16), gpu, strict=True)))
    assert found == (None if expected is None else pytest.approx(expected))


def test_growth_measures_every_series(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert growth.main(["--device", "cpu", "--quick", "--out", str(tmp_path)]) == 0
    (file,) = tmp_path.glob("*.json")
    found = json.loads(file.read_bytes())
    assert {p["series"] for p in found["points"]} == set(growth.WHAT) == set(charts.TITLES)
    assert all(p["us_per_step"] > 0 for p in found["points"])
    assert [p["n"] for p in found["points"] if p["series"] == "depth"] == [1, 2, 4]
    with pytest.raises(SystemExit):
        growth.main(["--device", "cpu", "--quick"])


def test_growth_covers_what_it_promises() -> None:
    points = growth.points("cpu")
    assert (min(points["batch"]), max(points["batch"])) == (1, 8192)
    assert (min(points["width"]), max(points["width"])) == (16, 4096)
    assert (min(points["depth"]), max(points["depth"])) == (1, 32)
    assert points["depth"][32].sizes.count(64) == 32
    assert max(points["parameters"]) == 10**7
    assert max(growth.points("cuda")["parameters"]) == 10**8


def test_other_programs_are_noticed() -> None:
    if not machine.TICKS.is_file():
        pytest.skip("needs /proc/stat")
    with machine.watched() as alone:
        end = time.perf_counter() + 0.5
        while time.perf_counter() < end:
            pass
    busy = "import time; e = time.perf_counter() + 3\nwhile time.perf_counter() < e: pass"
    with subprocess.Popen([sys.executable, "-c", busy]) as other:
        with machine.watched() as beside:
            time.sleep(1.5)
        other.kill()
    assert 0 <= alone.share <= 1
    assert beside.share > 0.3 / os.cpu_count()


def test_what_was_disturbed_is_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = iter([0.4, 0.2, 0.3, 0.5, 0.01])
    monkeypatch.setattr(
        command, "watched", lambda: contextlib.nullcontext(machine.Others(next(shares)))
    )
    times = iter(range(9))
    assert command.in_quiet(lambda: ({"gpunet": [next(times)]}, {}), 3) == (
        {"gpunet": [1]},
        {},
        0.2,
    )
    assert command.in_quiet(lambda: ({"gpunet": [next(times)]}, {}), 3) == (
        {"gpunet": [4]},
        {},
        0.01,
    )


def test_without_ticks_nothing_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "TICKS", tmp_path / "none")
    with machine.watched() as others:
        pass
    assert others.share is None


def test_a_record_says_that_the_machine_was_not_quiet() -> None:
    assert "quiet" not in records.taken_on(record())
    told = records.taken_on(record(blas=["openblas 0.3 Haswell, threads: 2"], pinned="WARNING"))
    assert "2 threads; openblas 0.3 Haswell, threads: 2; BLAS held back; commit 0123456789" in told
    one = record()
    one["workloads"]["W1"]["others_share"] = 0.04
    assert "quiet" not in records.taken_on(one)
    one["workloads"]["W1"]["others_share"] = 0.37
    assert records.taken_on(one).endswith(
        "not quiet, other programs took up to 37% of the processor"
    )
    assert "up to 20%" in records.taken_on({**grown("cpu", {1: 1.0}), "others_share": 0.2})


def test_the_processor_has_a_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("model name\t: Intel(R) Xeon(R) Gold 6248R CPU @ 3.00GHz\n")
    monkeypatch.setattr(machine, "CPUS", tmp_path / "cpuinfo")
    assert machine.processor() == "Intel Xeon Gold 6248R"
    monkeypatch.setattr(machine, "CPUS", tmp_path / "none")
    assert machine.processor()
