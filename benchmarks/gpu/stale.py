"""Settings that a graph cannot follow: what is changed between two steps is recorded anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gpunet as gn
from benchmarks.gpu.nets import batch, differing, everything, made
from benchmarks.workloads import Workload
from gpunet.backend import to_host


def _set_eps(one: gn.Step) -> None:
    one.model[1].eps = 1e-2


def _set_p(one: gn.Step) -> None:
    one.model[3].p = 0.25


def _set_mode(one: gn.Step) -> None:
    one.model[1].eval()


def _set_clip(one: gn.Step) -> None:
    one.optimizer.clip_norm = 0.05


def _set_decay(one: gn.Step) -> None:
    one.optimizer.groups[0]["weight_decay"] = 0.1


def _exchange(one: gn.Step) -> None:
    one.model[1].running_mean = one.model[1].running_mean + 1


CHANGES: dict[str, Callable[[gn.Step], None]] = {
    "eps": _set_eps,
    "p": _set_p,
    "mode": _set_mode,
    "clipping": _set_clip,
    "weight decay": _set_decay,
    "an array": _exchange,
}


def compare_stale(w: Workload, change: Callable[[gn.Step], None]) -> str:
    """What is changed between two steps: the step is captured anew."""
    eager, recorded = made(w, "float32"), made(w, "float32")
    captured = gn.capture(recorded)
    old: Any = None
    for k in range(8):
        if k == 4:
            (old,) = captured.graphs.by_key.values()  # type: ignore[union-attr]
            change(eager)
            change(recorded)
        arrays = batch(w, "float32", k)
        if to_host(eager(*arrays)).tobytes() != to_host(captured(*arrays)).tobytes():
            return f"step {k + 1}: another loss"
    (new,) = captured.graphs.by_key.values()  # type: ignore[union-attr]
    if new is old:
        return "the step was not captured anew"
    return differing(everything(recorded), everything(eager))
