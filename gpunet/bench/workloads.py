"""The workloads by which gpunet's speed is measured: what each is, and its arrays.

    W1   784-100-10, batch 100, SGD: the first network of the textbooks
    W2   784-256-128-10 with BatchNorm and Dropout, batch 128, Adam
    W3   1024-4096-4096-1000, batch 4096, Adam: a GPU's matrix products; W3c is a CPU's
    W4   Adam's update alone, of one tensor (W4a) and of twenty (W4b)
    W5   64-32-10, batch 32, Momentum: nothing but overhead
    W6   an epoch of Fashion-MNIST with W2's network, rows gathered in a new order
    R1   to R3, on the simulated GPU: networks that were drawn at random
    own  a network that the user describes

All are float32. `gpunet bench` runs them here, `benchmarks` beside other libraries.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gpunet.activation import ACTIVATIONS
from gpunet.backend import Array
from gpunet.containers import MLP
from gpunet.data import load
from gpunet.data.order import permutation
from gpunet.layers import Affine
from gpunet.optim import OPTIMIZERS
from gpunet.rng import seed as restart

Numbers = np.ndarray[Any, Any]
EPOCH = 60_000  # rows of Fashion-MNIST
OWN = "own"
STAND_IN = {"W3": "W3c"}  # as many layers, smaller; what is counted does not depend on sizes


@dataclass(frozen=True)
class Workload:
    """sizes: of the layers, () for an update alone. tensors, parameters: of an update alone.
    rows: of the data set where the workload is an epoch, else 0: one batch, again and again.
    """

    name: str
    optimizer: str
    sizes: tuple[int, ...] = ()
    batch: int = 0
    lr: float = 1e-3
    batch_norm: bool = False
    dropout: float = 0.0
    activation: str = "relu"
    tensors: int = 0
    parameters: int = 0
    rows: int = 0

    @property
    def text(self) -> str:
        """What it is, in a few words."""
        optimizer = OPTIMIZERS[self.optimizer].__name__
        if not self.sizes:
            tensors = "1 tensor" if self.tensors == 1 else f"{self.tensors} tensors"
            return f"{optimizer} alone, {_count(self.parameters)} parameters in {tensors}"
        parts = ["BatchNorm"] * self.batch_norm + [ACTIVATIONS[self.activation].__name__]
        parts += [f"Dropout {self.dropout:g}"] if self.dropout else []
        between = f" {' + '.join(parts)}" if len(self.sizes) > 2 else ""
        layers = f"{'-'.join(map(str, self.sizes))}{between}"
        whole = f", an epoch of {self.rows:,} rows" if self.rows else ""
        return f"{layers}, batch {self.batch}, {optimizer}{whole}"

    @property
    def words(self) -> list[str]:
        """What `gpunet bench` is told to count its steps."""
        if self.name != OWN:
            return [STAND_IN.get(self.name, self.name)]
        features, *hidden, classes = self.sizes
        options = {
            "--features": features,
            "--hidden": ",".join(map(str, hidden)),
            "--classes": classes,
            "--activation": self.activation,
            "--dropout": self.dropout,
            "--optimizer": self.optimizer,
            "--batch-size": self.batch,
        }
        words = [word for option in options.items() for word in map(str, option)]
        return [*words, *["--batch-norm"] * self.batch_norm]

    @property
    def model(self) -> MLP:
        """A new network, its weights drawn."""
        return MLP(self.sizes, self.activation, self.batch_norm, self.dropout)

    @property
    def flops(self) -> int:
        """Of the matrix products of a step: three a layer, but for the first's input gradient."""
        products = [a * b for a, b in zip(self.sizes, self.sizes[1:], strict=False)]
        return 2 * self.batch * (3 * sum(products) - products[0]) if products else 0

    @property
    def steps_a_round(self) -> int | None:
        """An epoch's steps where it is one (a last part of a batch is left out), else None."""
        return self.rows // self.batch if self.rows else None


def _count(n: int) -> str:
    for size, word in ((10**9, "billion"), (10**6, "million")):
        if n >= size:
            return f"{n / size:g} {word}"
    return f"{n:,}"


def workloads(place: str) -> dict[str, Workload]:
    """Those that suit the place ("cpu", "sim" or "cuda"), by name."""
    gpu = place == "cuda"
    parameters = 10**8 if gpu else 2 * 10**6
    w2 = Workload("W2", "adam", (784, 256, 128, 10), 128, batch_norm=True, dropout=0.5)
    listed = [
        Workload("W1", "sgd", (784, 100, 10), 100, lr=0.1),
        w2,
        *([Workload("W3", "adam", (1024, 4096, 4096, 1000), 4096)] if gpu else []),
        Workload("W3c", "adam", (784, 1024, 1024, 10), 512),
        Workload("W4a", "adam", tensors=1, parameters=parameters),
        Workload("W4b", "adam", tensors=20, parameters=parameters),
        Workload("W5", "momentum", (64, 32, 10), 32, lr=0.01),
        replace(w2, name="W6", rows=EPOCH),
    ]
    drawn = [random_network(seed) for seed in (1, 2, 3)] if place == "sim" else []
    return {w.name: w for w in [*listed, *drawn]}


def random_network(seed: int) -> Workload:
    """A network for which nothing was chosen: R1, R2, ..."""
    draw = np.random.default_rng(seed)
    inner = draw.integers(10, 500, draw.integers(1, 4)).tolist()
    sizes = (int(draw.integers(8, 1000)), *inner, int(draw.integers(2, 100)))
    rated = [name for name, kind in sorted(OPTIMIZERS.items()) if "lr" in kind.arguments]
    optimizer = rated[draw.integers(len(rated))]
    norm, dropout = bool(draw.random() < 0.5), float(draw.choice([0.0, 0.3]))
    batch = int(draw.integers(8, 256))
    return Workload(f"R{seed}", optimizer, sizes, batch, batch_norm=norm, dropout=dropout)


def chosen(words: tuple[str, ...], place: str) -> list[Workload]:
    """The workloads named, in any case, "W4" being W4a and W4b; all for no name.

    ValueError naming what there is for a name that is none.
    """
    known = workloads(place)
    found: dict[str, Workload] = {}
    for word in words or tuple(known):
        exact = [w for w in known.values() if w.name.lower() == word.lower()]
        named = exact or [w for w in known.values() if w.name[:-1].lower() == word.lower()]
        if word.upper() == "W3" and not exact:
            raise ValueError("W3 needs a GPU (--device cuda); W3c is its stand-in elsewhere")
        if not named or not word[1:]:
            raise ValueError(f"{word!r} is no workload; there are {', '.join(known)}")
        found |= {w.name: w for w in named}
    return list(found.values())


# What a workload is made of


def start(workload: Workload, seed: int = 0) -> list[Numbers]:
    """The initial weights: W (in, out) of each layer, He's. Biases begin at 0, BatchNorm's gamma at
    1. For an update alone its tensors, standard normal.
    """
    if not workload.sizes:
        return _normal(workload, seed)
    restart(seed)
    return [layer.W.data for layer in MLP(workload.sizes) if isinstance(layer, Affine)]


def gradients(workload: Workload, seed: int = 1) -> list[Numbers]:
    """What an update alone is given: a gradient for each of its tensors."""
    return _normal(workload, seed)


def _normal(workload: Workload, seed: int) -> list[Numbers]:
    share, rest = divmod(workload.parameters, workload.tensors)
    sizes = [share + (k < rest) for k in range(workload.tensors)]
    draw = np.random.default_rng(seed)
    return [draw.standard_normal(n, np.float32) for n in sizes]


def rows(workload: Workload, folder: str | None = None) -> tuple[Array, Array]:
    """x (rows, features) in [0, 1) and labels t (rows,): one batch, or the data of the epoch.

    folder: of the IDX files of Fashion-MNIST. Without it an epoch is of random rows, as many and
    as wide, which cost the same time. ValueError if the folder's do not fit the network.
    """
    if workload.rows and folder is not None:
        train = load(folder).train
        if train.x.shape[1:] != workload.sizes[:1] or len(train) < workload.batch:
            raise ValueError(f"{folder}: {workload.name} takes rows of {workload.sizes[0]} numbers")
        return train.x.astype(np.float32, copy=False), train.t
    draw, count = np.random.default_rng(0), workload.rows or workload.batch
    x = draw.random((count, workload.sizes[0]), np.float32)
    return x, draw.integers(0, workload.sizes[-1], count)


def order(count: int, batch: int, epoch: int) -> np.ndarray[Any, Any]:
    """Row numbers of an epoch's whole batches: int64, shape (steps, batch)."""
    steps = count // batch
    return permutation(count, seed=0, epoch=epoch)[: steps * batch].reshape(steps, batch)
