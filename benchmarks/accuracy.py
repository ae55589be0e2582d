"""Accuracy beside scikit-learn's MLPClassifier and MLPRegressor, all with their defaults.

    python -m benchmarks.accuracy            measure, and write a record and the page's table
    python -m benchmarks.accuracy --table    the table in docs/estimators.md from the last record

The data sets are those that scikit-learn ships. A seed splits the rows (a quarter is the test, for
classes of each its share) and starts the training; inputs are standardised for all. R2 of diabetes
is beside a regressor whose targets are as they are, and one behind TransformedTargetRegressor.
"""

from __future__ import annotations

import argparse
import statistics
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.records import RESULTS, ROOT, Record, header, newest, taken_on, write
from benchmarks.tables import rewritten
from gpunet.files import write_atomically

SEEDS = range(5)
FOLDER, PAGE, MARK = RESULTS / "accuracy", ROOT / "docs" / "estimators.md", "accuracy"
DATA = {"digits": True, "wine": True, "breast cancer": True, "diabetes": False}  # of classes?
OURS, THEIRS, SCALED = "gpunet", "scikit-learn", "scikit-learn, targets scaled"
Made = Callable[[int], Any]


def estimators(classes: bool) -> dict[str, Made]:
    """By name, an estimator of a seed with all else at its default."""
    from sklearn import neural_network
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.preprocessing import StandardScaler

    from gpunet import sklearn as ours

    if classes:
        return {
            OURS: lambda seed: ours.MLPClassifier(random_state=seed),
            THEIRS: lambda seed: neural_network.MLPClassifier(random_state=seed),
        }
    theirs = neural_network.MLPRegressor
    return {
        OURS: lambda seed: ours.MLPRegressor(random_state=seed),
        THEIRS: lambda seed: theirs(random_state=seed),
        SCALED: lambda seed: TransformedTargetRegressor(
            theirs(random_state=seed), transformer=StandardScaler()
        ),
    }


def score(made: Made, name: str, seed: int) -> float:
    """Accuracy, or R2, of the rows held out."""
    from sklearn import datasets
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y = getattr(datasets, f"load_{name.replace(' ', '_')}")(return_X_y=True)
    shares = {"test_size": 0.25, "random_state": seed, "stratify": y if DATA[name] else None}
    x, x_test, y, y_test = train_test_split(x, y, **shares)
    model = make_pipeline(StandardScaler(), made(seed))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's, that the default epochs were too few
        return float(model.fit(x, y).score(x_test, y_test))


def measure() -> Record:
    """The record: for each data set and estimator the scores of all seeds."""
    import numpy
    import sklearn

    from benchmarks import machine

    scores = {
        name: {
            who: [score(made, name, seed) for seed in SEEDS]
            for who, made in estimators(classes).items()
        }
        for name, classes in DATA.items()
    }
    return {
        **header("cpu", machine.device_name("cpu"), threads=1),
        "quick": False,
        "versions": {"numpy": numpy.__version__, "scikit-learn": sklearn.__version__},
        "scores": scores,
    }


def table(one: Record) -> str:
    """Markdown: a line for each data set, mean and standard deviation over the seeds."""
    columns = (OURS, THEIRS, SCALED)
    lines = [["", "", *columns], ["---"] * 5]
    for name, found in one["scores"].items():
        cells = (_cell(found[who]) if who in found else "-" for who in columns)
        lines.append([name, "accuracy" if DATA[name] else "R2", *cells])
    versions = ", ".join(f"{library} {version}" for library, version in one["versions"].items())
    rows = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return f"{taken_on(one)}; {versions}\n\n{rows}"


def _cell(scores: list[float]) -> str:
    return f"{statistics.mean(scores):.3f} ± {statistics.stdev(scores):.3f}"


def page(text: str, folder: Path) -> str:
    """The document with the table as the newest record in `folder` has it."""
    found = newest(folder, table)
    return rewritten(text, MARK, table(found["cpu"]) if found else "not yet measured")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy")
    parser.add_argument("--table", action="store_true", help="measure nothing")
    if not parser.parse_args().table:
        print(write(FOLDER, measure()).name)
    write_atomically(PAGE, page(PAGE.read_text("utf-8"), FOLDER).encode())


if __name__ == "__main__":
    main()
