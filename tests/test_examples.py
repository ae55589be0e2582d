"""Every example runs from top to bottom without a warning, and what it claims is so.

Each runs once, with one BLAS thread (on shared cores two threads wait for each other longer than
they compute). The numbers are read from what it prints.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import sysconfig
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import gpunet as gn
from gpunet.study.pictures import can_plot
from tests.notes import Claim, assert_quoted, claims

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "examples"
EXAMPLES = sorted(path.stem for path in FOLDER.glob("*.py"))
PLOTS = [name for name in EXAMPLES if "--plot" in (FOLDER / f"{name}.py").read_text("utf-8")]
NEEDS = {
    "grid_search": ("sklearn",),
    "house_prices": ("sklearn",),
    "served_without_gpunet": ("onnx", "onnxruntime"),
}
NUMBER = r"[-+]?(?:\d+\.?\d*(?:e[-+]?\d+)?|nan|inf)"


def run(name: str, folder: Path, *options: str) -> str:
    """What it prints; a failure, a warning or a word on stderr fails the test."""
    for module in NEEDS.get(name, ()):
        pytest.importorskip(module, reason=f"{module} is not installed")
    variables = {k: v for k, v in os.environ.items() if not k.startswith("GPUNET_")}
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-W", "error", str(FOLDER / f"{name}.py"), *options],
        cwd=folder,
        env=variables | {"PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        text=True,
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory):
    """output(name): what that example prints, run once, with its picture if it has one."""
    options = ["--plot"] if can_plot() else []

    @cache
    def output(name: str) -> str:
        if "gpunet[tables]" in (FOLDER / f"{name}.py").read_text("utf-8"):
            pytest.importorskip("sklearn", reason="the extra tables is not installed")
        folder = tmp_path_factory.mktemp(name)
        printed = run(name, folder, *options)
        pictures = [f"{name}.png"] if name in PLOTS and options else []
        assert [path.name for path in folder.iterdir()] == pictures
        return printed

    return output


def numbers(text: str, pattern: str) -> list[float]:
    """The numbers of the first line that matches; `#` in the pattern stands for one of them."""
    found = re.search(pattern.replace("#", f"({NUMBER})"), text)
    assert found, f"nothing like {pattern!r} in:\n{text}"
    return [float(group) for group in found.groups()]


def after(text: str, heading: str) -> str:
    """What stands behind `heading`."""
    assert heading in text
    return text.split(heading, 1)[1]


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_runs_and_says_what_to_notice(name: str, output) -> None:
    assert len(output(name).splitlines()) >= 3
    assert "What to notice: " in (FOLDER / f"{name}.py").read_text("utf-8").split('"""')[1]


def test_no_picture_unless_asked_for(tmp_path: Path) -> None:
    run("learning_rate", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_first_network_stops_where_validation_turns(output) -> None:
    text = output("first_network")
    assert "no better validation loss for 8 epochs" in text
    best_train, last_train = numbers(text, "train_loss # #")
    best_valid, last_valid = numbers(text, "valid_loss # #")
    assert last_train < best_train
    assert last_valid > best_valid
    assert numbers(text, "best epoch's weights: #")[0] > 0.95


def test_backprop_by_hand_agrees_with_differences(output) -> None:
    found = re.findall(rf"forward passes, off by ({NUMBER})", output("backprop_by_hand"))
    assert len(found) == 5
    assert max(map(float, found)) < 1e-8
    assert "False there" in output("backprop_by_hand")


def test_own_op(output) -> None:
    text = output("own_op")
    assert numbers(text, r"softplus\(\+0\) = #, slope #") == [0.6931, 0.5]
    assert "the gradient agrees" in text
    assert "12 wrong elements out of 12" in text


def test_own_layer_learns_the_gains(output) -> None:
    learned = numbers(output("own_layer"), r"0\.gain: .*learned \[#, #, #\]")
    assert learned == pytest.approx([1, -2, 0.5], abs=0.01)


def test_own_optimizer_trains_and_its_cuda_text_agrees(output) -> None:
    text = output("own_optimizer")
    assert "['average']" in text
    assert numbers(text, "# updates; test accuracy #")[1] > 0.93
    if "was not run here" not in text:
        assert numbers(text, "largest difference #")[0] <= 1e-6


def test_optimizer_race_is_close_once_each_has_its_rate(output) -> None:
    row = rf"(\w+) +({NUMBER}) \(lr +[\w.]+\) ({NUMBER}) \(lr +({NUMBER})\)"
    rows = re.findall(row, output("optimizer_race"))
    assert len(rows) == 15
    default, best, rates = ([float(r[k]) for r in rows] for k in (1, 2, 3))
    assert max(default) - min(default) > 0.5
    assert max(best) - min(best) < 0.12
    assert max(rates) >= 100 * min(rates)
    (cocob,) = numbers(output("optimizer_race"), r"cocob +# ")
    assert cocob > 0.9


def test_batchnorm_gradient_three_ways(output) -> None:
    text = output("batchnorm_gradient")
    assert numbers(text, "by the framework: +#")[0] < 1e-12
    assert numbers(text, "node by node and in closed form: +#")[0] < 1e-12
    assert numbers(text, "closed form and the framework: +#")[0] < 1e-12
    assert numbers(text, "closed form and central differences: +#")[0] < 1e-7
    assert max(numbers(text, "by hand and framework: +# and #")) < 1e-12
    itself, variance, mean, total = numbers(text, "itself #, variance #, mean # = #")
    assert itself + variance + mean == pytest.approx(total, abs=2e-4)
    assert numbers(text, "a bias in front gets nothing.*: #")[0] < 1e-12
    assert numbers(text, "dy gamma / root, and the framework: +#")[0] < 1e-12
    assert numbers(text, "differences and the framework: +#")[0] < 1e-7
    assert numbers(text, "and the training formula: +#")[0] > 0.1


def test_batchnorm_trains_from_every_std(output) -> None:
    text = output("batchnorm_bad_init")
    trained = after(text, "training loss after")
    without, within = {}, {}
    for std in ("1", "0.1", "0.01", "0.001", "0.0001"):
        pattern = rf"std {re.escape(std)} +without: # # #  with: # # #"
        _, _, without[std], _, _, within[std] = numbers(trained, pattern)
    assert min(within.values()) > 0.85
    assert without["0.1"] > 0.85
    assert max(accuracy for std, accuracy in without.items() if std != "0.1") < 0.2
    assert "without: 2.303 2.301" in trained  # a guess among ten
    spreads = numbers(text, r"without\n(?:.*\n){2} +std 0\.01 +# +# +# +#")
    assert spreads[0] > 10 * spreads[1] > 100 * spreads[2] > 1000 * spreads[3]
    spreads = numbers(text, r"with BatchNorm\n(?:.*\n){2} +std 0\.01 +# +# +# +#")
    assert max(spreads) < 1.1 * min(spreads)


def test_batchnorm_evaluation(output) -> None:
    text = output("batchnorm_bad_init")
    own, corrected = numbers(text, r"batches' own #, times B / \(B - 1\) #")
    assert own == pytest.approx(4 * 7 / 8, rel=0.05)
    assert corrected == pytest.approx(4, rel=0.05)
    assert numbers(text, "    the running variance #")[0] == pytest.approx(corrected, rel=0.05)
    alone, among = numbers(text, "alone #, among 100 rows #")
    assert alone == pytest.approx(among, abs=2e-4)
    others = numbers(text, "with 7 other rows: # # #")
    assert max(others) - min(others) > 0.1
    accuracies = numbers(text, "statistics #, by those of 36 rows #, .* 8 rows #, .* 2 rows #")
    running, many, eight, two = accuracies
    assert running > 0.9
    assert many > 0.9
    assert running > eight + 0.04 > two + 0.2


def test_dropout_and_weight_decay_close_the_gap(output) -> None:
    right, noisy = output("dropout_and_weight_decay").split("a fifth of the labels random")
    found = {}
    for title, text in (("right", right), ("noisy", noisy)):
        for name in re.findall(r"  (\w+(?: \w+)?) *: train", text):
            found[title, name] = numbers(text, f"  {name} *: train #, test #, gap #")
    fit, test, gap = found["noisy", "neither"]
    assert fit > 0.99
    assert gap > 0.1
    for name in ("weight decay", "dropout", "both"):
        assert found["noisy", name][0] < fit - 0.03  # worse on the training rows,
        assert found["noisy", name][1] > test + 0.02  # better on the test,
        assert found["noisy", name][2] < gap - 0.06
    assert found["right", "both"][1] < found["right", "neither"][1] + 0.02  # no help there


def test_learning_rate_descends_swings_and_wanders(output) -> None:
    text = output("learning_rate")
    one, two, three, fifteen, sixteen = numbers(text, r"lr 0\.01: .*: # # # # #")
    assert one > two > three > fifteen > sixteen
    assert fifteen == pytest.approx(1.821, abs=1e-3)  # the sixteenth point
    heights = re.findall(r"are at (\d+) height\(s\): \[(.*)\]", text)
    assert [int(count) for count, _ in heights] == [1, 2, 4]
    assert heights[0][1] == "-2.172"
    assert heights[1][1] == "-1.674, -1.198"


def test_early_stopping_goes_back_to_the_best(output) -> None:
    text = output("early_stopping")
    losses = [tuple(map(float, p)) for p in re.findall(rf"loss ({NUMBER}), .*loss (.*)", text)[:7]]
    assert losses[-1][0] < 0.1 < losses[0][0]  # training falls all the way
    assert losses[-1][1] > min(valid for _, valid in losses) + 0.05
    assert "same so far: True" in text
    (last,), (kept,) = numbers(text, "stopped after epoch #"), numbers(text, "weights of epoch #")
    assert kept == last - 10
    to_the_end, accuracy_end = numbers(text, "to the end: test loss #, accuracy #")
    stopped, accuracy = numbers(text, "stopped +: test loss #, accuracy #")
    assert stopped < to_the_end - 0.05
    assert accuracy > accuracy_end
    assert numbers(text, "loss of 0.1: after epoch #")[0] > last  # an error that comes late


def test_cocob_by_the_paper_falls_and_added_up_blows_up(output) -> None:
    text = output("second_look_at_cocob")
    line, digits = text.split("digits, ", 1)
    paper = numbers(line, "paper +: #, #, #")
    added = numbers(line, "added up: #, #, #")
    assert paper[0] > paper[1] > paper[2]  # comes nearer
    assert added[0] < added[1] < added[2]  # goes farther
    paper_first, paper_early, *_, paper_last, paper_accuracy = numbers(
        digits, "paper +: # # # # # # #; test accuracy #"
    )
    added_first, added_early, *_, added_accuracy = numbers(
        digits, "added up: # # # # # # #; test accuracy #"
    )
    assert added_first < paper_first  # the wrong form looks better at first
    assert added_early < paper_early
    assert paper_last < 0.002
    assert paper_accuracy > 0.95
    assert added_accuracy < 0.4
    low, peak = numbers(after(digits, "added up"), "lowest # in epoch .*then up to #")
    assert peak > 10 * low
    last = [numbers(digits, f"alpha +{alpha}: # # #")[2] for alpha in (10, 30, 100, 1000)]
    assert max(last) - min(last) < 0.05
    assert numbers(digits, "alpha +1: # # #")[2] < 0.3


def test_xor_is_solved_by_every_optimizer(output) -> None:
    text = output("xor_by_every_optimizer")
    assert len(re.findall(r"solves 5 of 5 starts", text)) == 16
    assert numbers(text, "rprop +solves .* in # steps")[0] < 50
    assert "without the hidden layer: solved by 0 of 16" in text


def test_regression_reaches_the_noise_inside_and_fails_outside(output) -> None:
    text = output("regression")
    net, line = numbers(text, "inside.*network #, of a straight line #")
    assert 0.09 < net < 0.12
    assert line > 3 * net
    assert numbers(text, "outside.*network #")[0] > 5 * net


def test_house_prices_are_fitted_as_well_as_by_scikit_learn(output) -> None:
    text = output("house_prices")
    mean = float(re.search(r"prices ([\d,]+) ±", text)[1].replace(",", ""))
    assert mean == pytest.approx(200_000, rel=0.02)
    ours = numbers(text, "gpunet +R2 #")[0]
    assert ours == pytest.approx(numbers(text, "targets scaled +R2 #")[0], abs=0.02)
    assert ours > 0.9
    assert numbers(text, "as it is +R2 #")[0] < 0


def test_sweep_finds_a_valley_and_each_network_stops_by_itself(output) -> None:
    text = output("sweep")
    for loss in re.findall(rf"lowest validation loss ({NUMBER})", text):
        assert float(loss) < 0.2
    few, many = numbers(text, "they stopped after # to # epochs")
    assert few < many
    assert numbers(text, "lr #, #% right on the test")[1] > 95


def test_grid_search_finds_good_settings_both_ways(output) -> None:
    text = output("grid_search")
    grid, halving = numbers(text, "grid: 6 .* best #")[0], numbers(text, "halving: 13 .* best #")[0]
    assert min(grid, halving) > 0.94
    unseen = re.findall(rf"has not seen: ({NUMBER})", text)
    assert [float(score) > 0.9 for score in unseen] == [True, True]


def test_a_model_is_served_by_onnxruntime(output) -> None:
    text = output("served_without_gpunet")
    assert "no gpunet here" in text
    assert numbers(text, "accuracy of the answers #")[0] > 0.9
    assert numbers(text, "probabilities #")[0] < 1e-6


def test_the_server_needs_no_gpunet_installed(tmp_path: Path) -> None:
    """It runs on what is installed beside gpunet, where there is none, not even hidden."""
    for module in NEEDS["served_without_gpunet"]:
        pytest.importorskip(module, reason=f"{module} is not installed")
    site = tmp_path / "site"
    site.mkdir()
    for folder in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for path in Path(folder).iterdir():
            if "gpunet" not in path.name and path.suffix != ".pth":
                (site / path.name).symlink_to(path)
    gn.to_onnx(gn.MLP([64, 5, 10]), tmp_path / "digits.onnx", softmax=True)
    np.save(tmp_path / "pixels.npy", np.ones((3, 64), np.float32))
    program = (
        f"import sys; sys.path.append({str(site)!r})\n" + loaded("served_without_gpunet").SERVER
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "no gpunet here"
    assert np.load(tmp_path / "answer.npy").sum(axis=1) == pytest.approx([1, 1, 1], abs=1e-6)


def loaded(name: str):
    """The example as a module."""
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_mistake_in_cocob_is_one_line() -> None:
    """The example's wrong form is the paper's step, added to the last weights."""
    module = loaded("second_look_at_cocob")
    right, wrong = module.on_a_line(module.gn.COCOB, 3), module.on_a_line(module.AddedUp, 3)
    assert right[1] == wrong[1] == pytest.approx(0.01)
    assert wrong[2] - wrong[1] == pytest.approx(right[2], rel=0.05)  # the bet, on top of the last


def test_a_table_is_read_trained_on_and_predicted_in_another_process(output) -> None:
    text = output("table_to_predictions")
    assert "4 columns read: 2 numbers, 1 category, 1 boolean; predicts: outcome" in text
    assert "left out: customer (another text in every row), since (a date or a time)" in text
    assert "age 25, Seoul: stays" in text
    assert "age 70, Seoul: leaves" in text
    assert "age 70, Busan: stays" in text
    assert "'city' has names that training did not have: Paris" in text
    assert numbers(text, "outcome: accuracy #")[0] > 0.85


def test_a_rate_that_falls_ends_the_swings(output) -> None:
    for lr in ("1.1", "1.2"):
        high, low = numbers(output("learning_rate"), f"lr {lr} falling .* from # to #")
        assert high == pytest.approx(low) == pytest.approx(-2.172)


def test_sgd_ends_above_adam_on_wilsons_problem(output) -> None:
    text = output("sgd_beside_adam")
    assert numbers(text, "SGD +training #, new rows #") == [1, 1]
    assert numbers(text, "Adam +training #, new rows #")[0] == 1
    apart, deviation = numbers(text, r"above Adam by # \+- #, in 100%")
    assert apart > 5 * deviation


def test_adamax_steps_by_rows_and_adam_by_their_roots(output) -> None:
    text = output("sparse_inputs")
    for every in (2, 10, 100):
        adam, adamax = numbers(text, f"one row of +{every}: Adam #, AdaMax #")
        assert adam == pytest.approx(every**0.5, rel=0.05)
        assert adamax == pytest.approx(1, abs=0.02)
    assert (
        numbers(text, "Adam +lr +0.1: # # #")[2] < 0.3 * numbers(text, "AdaMax lr +0.1: # # #")[2]
    )


def test_every_slope_between_left_and_right_is_a_subgradient(output) -> None:
    text = output("subgradients")
    assert "[-1.0, -0.5, 0.0, 0.5, 1.0]\n" in text
    assert ": [0.0, 0.5, 1.0]\n" in text
    constant, falling = numbers(text, "up to # from 0")[0], numbers(text, r"t\): up to #")[0]
    assert falling < 0.5 * constant


def test_batchnorm_on_some_layers_and_its_noise_and_eps(output) -> None:
    text = output("batchnorm_where")
    accuracy = {
        name: numbers(text, f"  {name} +# #\n")[1]
        for name in ("none", "the first", "every second", "all")
    }
    assert max(accuracy["none"], accuracy["the first"]) < 0.2
    assert accuracy["all"] > accuracy["every second"] - 0.02 > 0.7
    without, within = (numbers(text, f"  {name} +# ")[0] for name in ("without", "with BatchNorm"))
    assert without > 10 * within
    for size in (2, 8, 32, 128):
        assert numbers(text, f"batches of +{size}: #, #")[1] == pytest.approx(1.1, rel=0.15)
    spreads = [
        numbers(text, f"eps {eps}: # #; #")[0] for eps in ("1e-05", "1e-06", "1e-07", "1e-12")
    ]
    assert spreads[0] < 0.15
    assert spreads == sorted(spreads)
    assert spreads[-1] == pytest.approx(1, abs=0.02)


def test_decay_smooths_a_fit_and_depth_does_not(output) -> None:
    text = output("smooth_fits")
    found = {
        name: numbers(text, f"  {name} *: #, #; +#; +#")
        for name in (
            "small weights",
            "large weights",
            "large weights, decay",
            "three layers",
            "three layers, decay",
        )
    }
    for name in ("large weights", "three layers"):
        points, truth, slope, _ = found[name]
        smooth = found[f"{name}, decay"]
        assert points < smooth[0]  # nearer to the points
        assert truth > smooth[1]  # and farther from the truth
        assert slope > 1.5 * smooth[2]
    assert found["three layers"][2] > found["small weights"][2]


def test_the_gan_comes_to_the_ring_by_either(output) -> None:
    text = output("gan_on_a_ring")
    for name in ("Adam 0.005", "COCOB"):
        share, places = numbers(text, f"{name} +points .* #, places reached # of 8")
        assert share > 0.4
        assert places >= 6


@pytest.mark.parametrize("claim", [c for c in claims() if c.example], ids=lambda c: c.words[:60])
def test_it_prints_what_the_notes_quote(claim: Claim, output) -> None:
    assert_quoted(claim, output(claim.example))
