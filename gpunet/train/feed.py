"""Training data on the model's device, checked once, handed out in mini-batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpunet.backend import Array, array_module, to_device
from gpunet.layers import Layer, SigmoidWithLoss, SoftmaxWithLoss
from gpunet.losses import sigmoid_cross_entropy, softmax_cross_entropy
from gpunet.tape import no_grad
from gpunet.tensor import Tensor

Group = Sequence[Array]  # the row numbers of each batch whose gradients make one update


class Feed:
    """Rows `x` with targets `t` on the device of `model`, tried on it and on `loss`.

    Args:
        data: a pair (x, t), or an object with `.x` and `.t`; NumPy or CuPy arrays with one row a
            sample. They are moved to the model's device once, whole; floating numbers are made of
            the parameters' dtype, if that is one.
        name: for error messages.

    Raises:
        TypeError: data that is neither; arrays of something other than numbers.
        ValueError: no rows, different numbers of rows, an infinite number or a nan in x or t, a
            label out of range; what the model or the loss do not accept.
    """

    def __init__(self, data: Any, model: Layer, loss: Callable[[Any, Any], Any], name: str) -> None:
        self.name = name
        dtypes = {p.dtype for p in model.parameters()}
        x, t = (
            _prepared(array, f"{name}: {part}", dtypes, model.device)
            for array, part in zip(_pair(data, name), "xt", strict=True)
        )
        if len(x) != len(t):
            raise ValueError(f"{name}: x has {len(x)} rows but t has {len(t)}")
        if len(x) == 0:
            raise ValueError(f"{name}: no rows")
        self.x, self.t = x, t
        self._try(model, loss)

    def __len__(self) -> int:
        return len(self.x)

    def rows(self, rows: Any) -> tuple[Array, Array]:
        """x and t of a slice, or of an array of row numbers on this device."""
        return self.x[rows], self.t[rows]

    def moved(self, batches: Sequence[np.ndarray[Any, Any]]) -> list[Array]:
        """Arrays of row numbers, moved to this device in one go."""
        together = array_module(self.x).asarray(np.concatenate(batches))
        ends = np.cumsum([len(rows) for rows in batches]).tolist()
        return [together[a:b] for a, b in zip([0, *ends], ends, strict=False)]

    def _try(self, model: Layer, loss: Callable[[Any, Any], Any]) -> None:
        """Two rows through model and loss, so that what does not fit is said before training."""
        x, t = self.rows(slice(0, 2))
        try:
            with model.evaluating(), no_grad():
                z = model(x)
                value = loss(z, t)
        except (ValueError, TypeError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"{self.name}: {error}") from error
        if not isinstance(value, Tensor) or value.size != 1:
            found = f"shape {value.shape}" if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(f"{self.name}: the loss must be a Tensor of one number, got {found}")
        if isinstance(loss, SoftmaxWithLoss) or loss is softmax_cross_entropy:
            if self.t.ndim == z.ndim - 1:
                self._check_range(z.shape[-1] - 1, "label", f"the model has {z.shape[-1]} outputs")
        elif isinstance(loss, SigmoidWithLoss) or loss is sigmoid_cross_entropy:
            self._check_range(1, "target", "a binary loss")

    def _check_range(self, top: int, what: str, why: str) -> None:
        """A GPU could not tell it later: a kernel cannot raise."""
        bad = (self.t < 0) | (self.t > top)
        if bool(bad.any()):
            place = _first(bad)
            value = self.t[place].item()
            raise ValueError(
                f"{self.name}: {what} {value:g} in {_row(place)} is out of range: {why}, "
                f"{what}s run from 0 to {top}"
            )


def _pair(data: Any, name: str) -> tuple[Any, Any]:
    if hasattr(data, "x") and hasattr(data, "t"):
        return data.x, data.t
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        raise TypeError(f"{name} must be a pair (x, t), got {type(data).__name__}")
    return data[0], data[1]


def _prepared(data: Any, what: str, dtypes: set[Any], device: str) -> Array:
    """An array of finite numbers on the device, in the model's dtype if it is of floats."""
    array = data.data if isinstance(data, Tensor) else data
    if array_module(array) is None:
        try:
            array = np.asarray(array)
        except ValueError as error:
            raise ValueError(f"{what} is no array: {error}") from None
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{what} must hold numbers, got dtype {array.dtype}")
    if array.ndim == 0:
        raise ValueError(f"{what} must have one row a sample, got a lone number")
    if array.dtype.kind == "f":
        cast = array
        if len(dtypes) == 1:
            with np.errstate(over="ignore"):  # beyond float32's range: becomes inf
                cast = array.astype(next(iter(dtypes)), copy=False)
        bad = ~array_module(cast).isfinite(cast)
        if bool(bad.any()):
            place = _first(bad)
            raise ValueError(
                f"{what} holds {array[place].item()} in {_row(place)}, no finite {cast.dtype}; "
                "clean the data"
            )
        array = cast
    return to_device(array, device)


def _first(bad: Array) -> tuple[int, ...]:
    return tuple(int(k) for k in np.unravel_index(int(bad.argmax()), bad.shape))


def _row(place: tuple[int, ...]) -> str:
    """ "row 3, column 5", counted from 0."""
    return f"row {place[0]}" + "".join(f", column {k}" for k in place[1:])
