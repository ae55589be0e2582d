"""Full batch, mini-batches and single rows on one problem: what a step costs, what it brings, and
how the loss swings.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunet import rng
from gpunet.containers import MLP, Sequential
from gpunet.context import no_grad
from gpunet.data import load
from gpunet.fused.step import Step
from gpunet.loss import SoftmaxWithLoss
from gpunet.optim import SGD
from gpunet.study import pictures
from gpunet.study.lines import line
from gpunet.study.step_noise import row_gradients, step_noise
from gpunet.study.tables import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Host = np.ndarray[Any, Any]
SIZES = (1, 8, 32, 128)
ROWS, LR, EPOCHS = 960, 0.05, 2
LEAST = 120  # updates, that there is something to see of the full batch
LOOKS = 40  # at the loss, for a picture
SWINGS = 60  # updates
LOOKED_AT = 240  # rows, one by one, for the variance of their gradients


@dataclass(frozen=True)
class Training:
    """One batch size's. memory: of one step's arrays at their most, in bytes. second: what an
    update takes, the median of all. done, loss: at each look, the updates so far, and the mean loss
    over all rows.
    """

    batch: int
    memory: int
    second: float
    done: Host
    loss: Host

    @property
    def name(self) -> str:
        return "all" if self.batch == ROWS else f"{self.batch}"

    @property
    def an_epoch(self) -> int:
        """Updates."""
        return -(-ROWS // self.batch)


@dataclass(frozen=True)
class Batches:
    """What `batches` found; `tables` has it in numbers, `draw` the loss over time."""

    trainings: Sequence[Training]
    noise: Table
    swings: dict[int, float]

    def tables(self) -> list[Table]:
        return [self._costs(), self.noise, self._swings()]

    def _costs(self) -> Table:
        rows = [
            (
                run.name,
                run.an_epoch,
                f"{run.memory / 1024:,.0f} KiB",
                f"{1e6 * run.second:,.0f} us",
                f"{1e3 * run.an_epoch * run.second:,.1f} ms",
                run.loss[run.done == EPOCHS * run.an_epoch].item(),
            )
            for run in self.trainings
        ]
        return Table(
            f"{ROWS} digits, 64-32-10, SGD, lr {LR:g}",
            (
                "batch",
                "updates an epoch",
                "memory a step",
                "time a step",
                "an epoch",
                f"loss after {EPOCHS} epochs",
            ),
            rows,
            "A larger batch needs more memory and time a step and less time an epoch, and makes "
            "fewer updates: the full batch has hardly begun.",
            digits=3,
        )

    def _swings(self) -> Table:
        return Table(
            f"The loss over all rows during {SWINGS} updates from the same trained weights: how "
            "far one change differs from the change before",
            ("batch", "deviation"),
            list(self.swings.items()),
            "The smaller the batch, the more the loss swings.",
            words=0,
            digits=2,
        )

    def draw(self) -> Figure:
        """The loss over the time that the updates took. ImportError without matplotlib."""
        figure = pictures.new_figure(6.4, 4.0)
        axes = figure.subplots()
        for k, run in enumerate(self.trainings):
            name = f"batches of {run.batch}" if run.batch < ROWS else "all rows at once"
            axes.plot(1e3 * run.second * run.done, run.loss, label=name, **line(k))
        axes.set(xlabel="time of the updates, ms", ylabel="loss over all rows", xscale="log")
        axes.legend(frameon=False)
        pictures.bare(axes)
        return figure


def batches(sizes: Sequence[int] = SIZES, seed: int = 0) -> Batches:
    """Train a small network on digits with batches of these sizes, and with all rows at once.

    ValueError for a size outside 1 to the number of rows.
    """
    for size in sizes:
        if not 1 <= size <= ROWS or size != int(size):
            raise ValueError(f"a batch holds 1 to {ROWS} rows here, got {size:g}")
    counts = [*dict.fromkeys(int(size) for size in sizes if size < ROWS), ROWS]
    digits = load("digits").train
    x, t = digits.x[:ROWS], digits.t[:ROWS]
    trained = _network(seed)
    gradients = row_gradients(trained, SoftmaxWithLoss(), x[:LOOKED_AT], t[:LOOKED_AT])
    list(_looks(trained, x, t, 32, every=5 * ROWS // 32, looks=1, seed=seed))
    return Batches(
        trainings=[_train(size, x, t, seed) for size in counts],
        noise=step_noise(gradients, [1, *(n for n in counts[:-1] if n > 1)], seed),
        swings={size: _swing(trained, x, t, size, seed) for size in counts},
    )


def _network(seed: int) -> Sequential:
    with rng.apart(seed):
        return MLP([64, 32, 10])


def _train(size: int, x: Host, t: Host, seed: int) -> Training:
    model = _network(seed)
    memory = _memory(model, x[:size], t[:size])
    epochs = EPOCHS * -(-ROWS // size)
    every = max(1, epochs // LOOKS)
    spent: list[float] = []
    looks = _looks(model, x, t, size, every, max(LEAST, epochs) // every, seed, spent)
    done, losses = np.array(list(looks)).T
    return Training(size, memory, float(np.median(spent)), done, losses)


def _memory(model: Sequential, x: Host, t: Host) -> int:
    """Of all arrays that forward and backward have at once, the parameters left out."""
    tracemalloc.start()
    try:
        SoftmaxWithLoss()(model(x), t).backward()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _looks(
    model: Sequential,
    x: Host,
    t: Host,
    size: int,
    every: int,
    looks: int,
    seed: int,
    spent: list[float] | None = None,
) -> Iterator[tuple[int, float]]:
    """Train; updates and the loss over all rows, at first and after each `every`. spent: a list
    that gets the seconds of each update.
    """
    loss = SoftmaxWithLoss()
    step = Step(model, loss, SGD(model.parameters(), lr=LR))
    batches = _drawn(size, seed)
    for done in range(every * looks + 1):
        if done:
            rows = next(batches)
            began = time.perf_counter()
            step(x[rows], t[rows])
            if spent is not None:
                spent.append(time.perf_counter() - began)
        if done % every == 0:
            with no_grad():
                yield done, loss(model(x), t).item()


def _drawn(size: int, seed: int) -> Iterator[Host]:
    """The rows of each batch, in a new order every epoch."""
    draw = np.random.default_rng(seed)
    while True:
        order = draw.permutation(ROWS)
        yield from (order[at : at + size] for at in range(0, ROWS, size))


def _swing(trained: Sequential, x: Host, t: Host, size: int, seed: int) -> float:
    """The deviation of the loss's second differences: 0 of a loss that falls evenly."""
    model = _network(seed)
    model.load_state_dict(trained.state_dict())
    losses = [loss for _, loss in _looks(model, x, t, size, 1, SWINGS, seed)]
    return float(np.std(np.diff(losses, 2)))
