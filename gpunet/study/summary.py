"""`gpunet.summary`: the layers of a model with their output shapes and parameters, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunet import notebook
from gpunet.backend import module_for
from gpunet.context import frozen, no_grad, observe
from gpunet.layer import Layer
from gpunet.study.columns import aligned
from gpunet.tensor import Tensor

Shape = tuple[Any, ...]  # of whole numbers, or "batch" for an axis of any length


@dataclass(frozen=True)
class LayerSummary:
    """A layer: its dotted name, its class, the shape of its (last) output, None if it was not
    called, and what it holds itself, its inner layers left out.

    parameters: elements that are trained. bytes: of these and of its buffers. shared: some of its
    parameters stood in a row above and are counted there.
    """

    name: str
    kind: str
    output: Shape | None
    parameters: int
    bytes: int
    calls: int
    shared: bool


@dataclass(frozen=True)
class Summary:
    """What `summary` found; `str()` is the table."""

    model: str
    input: Shape
    output: Shape
    rows: tuple[LayerSummary, ...]

    @property
    def parameters(self) -> int:
        """Elements of all parameters, each counted once."""
        return sum(row.parameters for row in self.rows)

    @property
    def bytes(self) -> int:
        """Of parameters and buffers."""
        return sum(row.bytes for row in self.rows)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        caption = f"{self.model}: {_shape(self.input)} to {_shape(self.output)}, "
        caption += f"{self.parameters:,} parameters, {_size(self.bytes)} with buffers"
        rows = [(r.name, _kind(r), _shape(r.output), _count(r)) for r in self.rows]
        return notebook.table(caption, ("layer", "kind", "output", "parameters"), rows)

    def __str__(self) -> str:
        cells = [("layer", "kind", "output", "parameters")]
        cells += [(r.name, _kind(r), _shape(r.output), _count(r)) for r in self.rows]
        lines = aligned(cells, words=3)
        rule = "-" * len(lines[0])
        return "\n".join(
            [
                f"{self.model}: {_shape(self.input)} to {_shape(self.output)}",
                rule,
                lines[0],
                rule,
                *lines[1:],
                rule,
                f"{self.parameters:,} parameters, {_size(self.bytes)} with buffers",
            ]
        )


def summary(model: Layer, input_shape: int | Sequence[int]) -> Summary:
    """Run `model` once on zeros and note each layer's output.

    In evaluation mode and unrecorded: running statistics, dropout counters, gradients and each
    layer's mode are as before.

    Args:
        input_shape: the number of features, or the whole shape (..., batch, features).

    Raises:
        TypeError: `model` is no Layer.
        ValueError: the model does not take that shape, or a length below 1.
    """
    if not isinstance(model, Layer):
        raise TypeError(f"summary needs a Layer, got {type(model).__name__}")
    shape = _read_shape(input_shape)
    any_batch = len(shape) == 1
    dtype = next((p.dtype for p in model.parameters()), np.float32)
    x = module_for(model.device).zeros((1, *shape) if any_batch else shape, dtype)
    found: dict[int, list[Shape]] = {}

    def see(layer: Layer, y: Tensor) -> None:
        found.setdefault(id(layer), []).append(_batched(y.shape, any_batch))

    quiet = np.errstate(all="ignore")  # what a layer makes of zeros does not matter here
    with model.evaluating(), frozen(), no_grad(), observe(see), quiet:
        y = model(x)
    return Summary(
        model=type(model).__name__,
        input=_batched(x.shape, any_batch),
        output=_batched(y.shape, any_batch),
        rows=tuple(_rows(model, found)),
    )


def _read_shape(input_shape: int | Sequence[int]) -> tuple[int, ...]:
    given = (input_shape,) if isinstance(input_shape, (int, np.integer)) else tuple(input_shape)
    whole = all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) for n in given)
    if not given or not whole or min(given) < 1:
        raise ValueError(
            f"input_shape must be the number of features, or (batch, features), got {input_shape!r}"
        )
    return tuple(int(n) for n in given)


def _batched(shape: tuple[int, ...], any_batch: bool) -> Shape:
    """The shape with the word "batch" in place of the one row that was tried."""
    if not any_batch or len(shape) < 2:
        return shape
    return (*shape[:-2], "batch", shape[-1])


def _rows(model: Layer, found: dict[int, list[Shape]]) -> list[LayerSummary]:
    """Containers with nothing of their own are left out, for their layers say it all."""
    seen: set[int] = set()
    rows = []
    layers: dict[int, tuple[str, Layer]] = {}
    for name, layer in [("", model), *model.named_layers()]:
        layers.setdefault(id(layer), (name, layer))
    for name, layer in layers.values():
        own = [p for key, p in layer.named_parameters() if "." not in key]
        buffers = [getattr(layer, key) for key in layer.buffers]
        if any(True for _ in layer.children()) and not own and not buffers:
            continue
        new = list({id(p): p for p in own if id(p) not in seen}.values())
        seen |= {id(p) for p in new}
        shapes = found.get(id(layer), [])
        rows.append(
            LayerSummary(
                name=name or "(model)",
                kind=type(layer).__name__,
                output=shapes[-1] if shapes else None,
                parameters=sum(p.size for p in new),
                bytes=sum(int(a.nbytes) for a in [*(p.data for p in new), *buffers]),
                calls=len(shapes),
                shared=len(new) < len(own),
            )
        )
    return rows


def _kind(row: LayerSummary) -> str:
    return f"{row.kind}, {row.calls} calls" if row.calls > 1 else row.kind


def _shape(shape: Shape | None) -> str:
    return "not called" if shape is None else f"({', '.join(map(str, shape))})"


def _count(row: LayerSummary) -> str:
    return f"shared {row.parameters:,}" if row.shared else f"{row.parameters:,}"


def _size(count: int) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{count:,} bytes ({count / size:.1f} {unit})"
    return f"{count:,} bytes"
