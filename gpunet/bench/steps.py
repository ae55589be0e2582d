"""A workload's steps by gpunet, as one call: what is timed and counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from gpunet.backend import Array, to_device
from gpunet.bench import in_phases
from gpunet.bench.timing import Run, repeated
from gpunet.bench.workloads import Numbers, Workload, gradients, order, rows, start
from gpunet.fused import plan as chain
from gpunet.fused.step import Step
from gpunet.graphs import capture
from gpunet.layers import Affine
from gpunet.loss import SoftmaxWithLoss
from gpunet.optim import OPTIMIZERS, Optimizer
from gpunet.parameter import Parameter
from gpunet.phases import plan as phases
from gpunet.rng import seed


def training_step(
    workload: Workload,
    device: str,
    begin: Sequence[Numbers] | None = None,
    dropout: float | None = None,
    fuse: bool = True,
) -> Step:
    """`step(x, t)`: forward, loss, backward and update; returns the loss, an array of shape ().

    begin: the weights to begin with, else `start(workload)`; dropout: another share than the
    workload's; fuse=False: the plain tape.
    """
    seed(0)
    model = (workload if dropout is None else replace(workload, dropout=dropout)).model
    affine = (layer for layer in model if isinstance(layer, Affine))
    for layer, W in zip(affine, start(workload) if begin is None else begin, strict=True):
        layer.W.data = W
    model.to(device)
    optimizer = _optimizer(workload, model.parameters())
    step = Step(model, SoftmaxWithLoss(), optimizer, fuse=fuse)
    if device == "cpu" and step.fused is not None:
        step.fused.settle(workload.batch)
    return step


def update_alone(workload: Workload, device: str) -> Optimizer:
    """The optimizer with `start(workload)` as parameters and `gradients(workload)` in them."""
    made = [Parameter(to_device(p, device)) for p in start(workload)]
    optimizer = _optimizer(workload, made)
    for p, g in zip(made, gradients(workload), strict=True):
        p.grad = g
    return optimizer


def _optimizer(workload: Workload, parameters: list[Parameter]) -> Optimizer:
    """As it is in a long training, its loop for the CPU made."""
    kind: Any = OPTIMIZERS[workload.optimizer]
    made: Optimizer = kind(parameters, **({"lr": workload.lr} if kind.has_lr else {}))
    for part in (part for s in made.segments for part in s.parts(made.decay_all)):
        made.kernel.settle(part)
    return made


def modes(workload: Workload, device: str) -> list[str]:
    """ "eager"; for a whole step off the CPU "captured", and where it runs in phases "phases", a
    graph of them, and "persistent", many steps in one kernel.
    """
    if not workload.sizes or device == "cpu":
        return ["eager"]
    small = not workload.rows and not_in_phases(workload) is None
    return ["eager", "captured", *(["phases", "persistent"] if small else [])]


def not_in_phases(workload: Workload) -> str | None:
    """Why the workload's step does not run in phases, or None."""
    found = chain.read(workload.model, SoftmaxWithLoss())
    phased = found if isinstance(found, str) else phases.read(found, workload.batch)
    return phased if isinstance(phased, str) else None


def runner(workload: Workload, device: str, mode: str = "eager", folder: str | None = None) -> Run:
    """`run(n)`: the next n steps of the workload, with everything on the device before."""
    if not workload.sizes:
        return repeated(update_alone(workload, device).step)
    made = training_step(workload, device)
    x, t = (to_device(a, device) for a in rows(workload, folder))
    if mode in ("phases", "persistent"):
        return in_phases.runner(in_phases.phased_of(made, x, t), len(x), mode == "persistent")
    step: Callable[[Array, Array], Any] = capture(made) if mode == "captured" else made
    if not workload.rows:
        return repeated(lambda: step(x, t))
    batches = _batches(len(x), workload.batch, device)

    def next_step() -> None:
        taken = next(batches)
        step(x[taken], t[taken])

    return repeated(next_step)


def _batches(count: int, batch: int, device: str) -> Iterator[Array]:
    """Row numbers on the device, epoch after epoch; one copy an epoch."""
    epoch = 0
    while True:
        yield from to_device(order(count, batch, epoch), device)
        epoch += 1
