"""What is wrong with a network, from one look into each of its layers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from gpunet.study.probe_look import Look

DEAD = 0.5  # share of a ReLU's units that are 0 for every row
SATURATED = 0.5  # share of a sigmoid's or tanh's outputs on its flat ends
VANISHED, EXPLODED = 1e-4, 1e3  # gradient norm at a layer by that at the model's output

TRY_DEAD = (
    "units that give 0 for every row learn nothing: try a smaller learning rate, He() for the "
    "weights before it, or BatchNorm before it"
)
TRY_SATURATED = (
    "hardly any gradient passes: try smaller initial weights (Xavier()), BatchNorm before "
    "it, inputs scaled to mean 0 and spread 1, or ReLU"
)
TRY_VANISHED = (
    "it hardly learns: try He() (for ReLU) or Xavier() (sigmoid, tanh) for the "
    "weights, BatchNorm, ReLU for sigmoid, or fewer layers"
)
TRY_EXPLODED = (
    "try smaller initial weights (He() or Xavier()), BatchNorm, clip_norm=1.0 in the optimizer, or "
    "a smaller learning rate"
)


def symptoms(looks: Sequence[Look]) -> Iterator[tuple[str, str, str]]:
    """(layer, trouble, what to tell and to try), for the looks of one epoch in order of calls.

    The model's own output is not judged by its values: a good classifier's are saturated.
    """
    for look in looks[:-1]:
        name = f"layer {look.layer} ({look.kind})"
        if look.kind == "ReLU" and look.dead >= DEAD:
            words = f"{look.dead:.0%} of the units of {name} are dead"
            yield look.layer, "dead", f"{words}: {TRY_DEAD}"
        if look.saturated >= SATURATED:
            words = f"{look.saturated:.0%} of the outputs of {name} are saturated"
            yield look.layer, "saturated", f"{words}: {TRY_SATURATED}"
    yield from _gradients(looks)


def _gradients(looks: Sequence[Look]) -> Iterator[tuple[str, str, str]]:
    """Layers with parameters, against the gradient at the model's output."""
    output = looks[-1].gradient if looks else math.nan
    for look in looks:
        name = f"layer {look.layer} ({look.kind})"
        if not look.parameters:
            continue
        if not math.isfinite(look.parameter_gradient):
            words = f"the gradient of {name} is {look.parameter_gradient}"
            yield look.layer, "exploding", f"{words}: {TRY_EXPLODED}"
        elif output > 0 and look.gradient < VANISHED * output:
            words = (
                f"the gradient vanishes: its norm is {look.gradient:.1e} at {name} and "
                f"{output:.1e} at the model's output"
            )
            yield look.layer, "vanishing", f"{words}; {TRY_VANISHED}"
        elif output > 0 and look.gradient > EXPLODED * output:
            words = (
                f"the gradient explodes: its norm is {look.gradient:.1e} at {name} and "
                f"{output:.1e} at the model's output"
            )
            yield look.layer, "exploding", f"{words}; {TRY_EXPLODED}"
