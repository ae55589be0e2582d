"""The options of `python -m benchmarks.peers`; loads nothing but argparse."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

RESULTS = Path(__file__).resolve().parents[1] / "results" / "peers"


def read(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers",
        description="gpunet beside PyTorch, JAX, scikit-learn and NumPy by hand. Exit status: 0; "
        "1 if a peer computes something else or fails; 2 for a mistake in these options.",
    )
    parser.add_argument("workloads", nargs="*", metavar="W1", help="default: all for the device")
    parser.add_argument("--device", choices=("cpu", "cuda"), required=True)
    parser.add_argument("--rounds", type=_positive, default=31)
    parser.add_argument("--seconds", type=float, default=0.03, help="of a round (%(default)s)")
    parser.add_argument("--threads", type=_positive, default=2, help="of each peer on a CPU")
    parser.add_argument("--without", nargs="+", default=[], metavar="PEER", help="such as compile")
    parser.add_argument("--data", metavar="DIR", help="Fashion-MNIST for W6; default: random rows")
    parser.add_argument("--quick", action="store_true", help="tiny networks, 3 rounds: for a try")
    parser.add_argument("--out", type=Path, help="folder of the JSON (benchmarks/results/peers)")
    parser.add_argument("--commit", help="the commit, for a copy that git does not know")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.seconds = 3, 0.001
        if options.out is None or options.out.resolve() == RESULTS:
            parser.error("--quick measures nothing: give another --out than the results' folder")
    options.out = options.out or RESULTS
    return options


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError(f"{text} is not a whole number from 1")
    return value
