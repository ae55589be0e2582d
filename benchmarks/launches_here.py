"""What steps of workloads ask of the simulated GPU, as the gpunet that is imported makes them: this
version or an older one. For `benchmarks.launches`, which runs this text; prints JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import gpunet as gn
from gpunet.testing import simgpu

WARM, STEPS = 3, 10
UPDATES, ROWS = 200, 8  # of an epoch; how many rows an update has changes nothing
Counts = np.ndarray[Any, Any]
in_graphs = (
    0  # kernels of the graphs that were launched, where the simulated GPU does not count them
)


def so_far(used: simgpu.Counters) -> Counts:
    """Launches (of a graph one), kernels, copies, waits, bytes handed out."""
    copies = used.d2h_copies + used.h2d_copies + used.d2d_copies
    kernels = used.launches + getattr(used, "graph_kernels", in_graphs)
    launches = used.launches + used.graph_launches
    return np.array([launches, kernels, copies, used.synchronisations, used.bytes_allocated])


def count_kernels_of_graphs() -> None:
    graph: Any = __import__("gpunet.testing.simgpu.graph", fromlist=["Graph"])
    launch = graph.Graph.launch

    def counting(self: Any, *stream: Any) -> None:
        global in_graphs
        in_graphs += sum(node.kind == "kernel" for node in self._nodes)
        launch(self, *stream)

    graph.Graph.launch = counting


def made(w: dict[str, Any]) -> tuple[Any, ...]:
    """Model, loss and optimizer."""
    gn.seed(0)
    model = gn.MLP(w["sizes"], batch_norm=w["batch_norm"], dropout=w["dropout"]).to("cuda")
    kind: Any = gn.OPTIMIZERS[w["optimizer"]]
    return model, gn.SoftmaxWithLoss(), kind(model.parameters(), lr=w["lr"])


def data(w: dict[str, Any], rows: int, cupy: Any) -> tuple[Any, Any]:
    draw = np.random.default_rng(0)
    x = draw.random((rows, w["sizes"][0]), np.float32)
    return cupy.asarray(x), cupy.asarray(draw.integers(0, w["sizes"][-1], rows))


def a_step(run: Callable[[int], object]) -> list[float]:
    """Of `run(n)`, n steps."""
    run(WARM)
    with simgpu.count() as used:
        before = so_far(used)
        run(STEPS)
        found: list[float] = ((so_far(used) - before) / STEPS).tolist()
        return found


def repeated(step: Callable[..., object], x: Any, t: Any) -> Callable[[int], object]:
    return lambda steps: [step(x, t) for _ in range(steps)]


class Note(gn.Callback):
    """What was counted at the end of each epoch."""

    def __init__(self, used: simgpu.Counters) -> None:
        self.used = used
        self.ends: list[Counts] = []

    def on_epoch(self, trainer: Any, row: Any) -> None:
        self.ends.append(so_far(self.used))


def in_a_training(w: dict[str, Any], cupy: Any) -> list[float]:
    """An update of the second epoch."""
    with simgpu.count() as used:
        note = Note(used)
        trainer = gn.Trainer(*made(w), callbacks=[note])
        trainer.fit(data(w, UPDATES * ROWS, cupy), epochs=2, batch_size=ROWS)
    first, second = note.ends
    found: list[float] = ((second - first) / UPDATES).tolist()
    return found


def counted(w: dict[str, Any], cupy: Any) -> dict[str, list[float]]:
    """By mode."""
    batch = data(w, w["batch"], cupy)
    found = {
        "eager": a_step(repeated(gn.Step(*made(w)), *batch)),
        "captured": a_step(repeated(gn.capture(gn.Step(*made(w))), *batch)),
    }
    if w["name"][0] == "W":  # of the others as much could be told, after an hour
        found["training"] = in_a_training(w, cupy)
    if Path(gn.__file__).with_name("phases").is_dir():
        from gpunet.bench.in_phases import phased_of, runner

        for mode in ("phases", "persistent"):
            phased = phased_of(gn.Step(*made(w)), *batch)
            found[mode] = a_step(runner(phased, w["batch"], mode == "persistent"))
    return found


def main() -> None:
    if not hasattr(simgpu.Counters(), "graph_kernels"):
        count_kernels_of_graphs()
    with simgpu.activate() as cupy:
        print(json.dumps({w["name"]: counted(w, cupy) for w in json.loads(sys.argv[1])}))


if __name__ == "__main__":
    main()
