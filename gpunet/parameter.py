"""Parameter: a Tensor that is trained, and that an arena may take into its flat buffers."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import numpy as np

from gpunet.backend import Array, array_module, device_of, to_device
from gpunet.tape import numbers
from gpunet.tensor import Tensor


class Placing:
    """When, on the tape's clock, any parameter was last frozen, thawed or moved to another place:
    where that has not changed, nobody need look at each of them.
    """

    last: int = 0


class Membership:
    """What a parameter knows of its arena: where to leave word. (Knowing the arena itself would
    close a circle, and a GPU's memory would wait for the garbage collector.)

    stale: why parameters have left. changes: how often one was frozen or thawed. changed: when, on
    the tape's clock, an update changed the values.
    """

    stale: str | None = None
    changes: int = 0
    changed: int = -1


class Parameter(Tensor):
    """A Tensor that is trained. Once an optimizer has it, `data` and `grad` are views of an arena.

    Assigning to `.data` or `.grad` copies into the array that is there, from any device; shapes
    must match (ValueError with both). `p.grad = None` in an arena sets the gradient to 0. With
    `requires_grad = False` it is frozen: no update moves it, nor its optimizer state. A copy
    (deepcopy, pickle) is independent: values, without gradient or arena.

    Args:
        array: the initial values (copied; float32 or float64).
        decay: weight decay reaches it; layers set False for biases, gamma and beta.
    """

    __slots__ = ("_changed", "_membership", "_trained", "decay")
    tells = True

    def __init__(self, array: Any, decay: bool = True) -> None:
        self._membership: Membership | None = None
        self._changed = -1
        super().__init__(array)
        if self._data.dtype not in (np.float32, np.float64):
            raise TypeError(
                f"a Parameter is float32 or float64, got {self._data.dtype}; "
                "convert with array.astype(numpy.float32)"
            )
        self._data = self._data.copy(order="C")
        self.requires_grad = True
        self.decay = decay

    def _set_trained(self, trained: bool) -> None:
        if trained is getattr(self, "_trained", None):
            return  # what a step was captured with still holds
        if self._membership is not None:
            self._membership.changes += 1
        self._trained = bool(trained)
        Placing.last = next(numbers)

    # Every op of a step reads it: attrgetter costs no call of a Python function.
    requires_grad: bool = property(attrgetter("_trained"), _set_trained)  # type: ignore[assignment]

    @property
    def data(self) -> Array:
        return self._data

    @data.setter
    def data(self, array: Any) -> None:
        self._data[...] = to_device(self._of_my_shape(array, "data"), device_of(self._data))
        self.touch()

    def touch(self) -> None:
        """Tell the tape that the values have changed. Who writes to `data` itself, as in
        `p.data[...] = 0`, between a forward pass and its backward should.
        """
        self._changed = next(numbers)

    @property
    def changed(self) -> int:  # type: ignore[override]
        """When, on the tape's clock, the values were last changed."""
        shared = self._membership
        return self._changed if shared is None else max(self._changed, shared.changed)

    @property
    def grad(self) -> Array | None:
        return self._grad

    @grad.setter
    def grad(self, array: Any) -> None:
        if array is None and self._membership is None:
            self._grad = None
            return
        if self._grad is None:
            self._grad = array_module(self._data).zeros_like(self._data)
        value = 0 if array is None else self._of_my_shape(array, "grad")
        self._grad[...] = value if array is None else to_device(value, device_of(self._data))

    def enter(self, membership: Membership, data: Array, grad: Array) -> None:
        """Move values and gradient into an arena's views; an older arena loses them.

        data, grad: 1-D; of a parameter with a leading axis of models, a row for each.
        """
        if self._membership is not None:
            self._membership.stale = "its parameters were given to another optimizer"
        data[...] = self._data.reshape(data.shape)
        if self._grad is not None:
            grad[...] = self._grad.reshape(grad.shape)
        shape = self.shape
        self._data, self._grad = data.reshape(shape), grad.reshape(shape)
        self._membership = membership
        Placing.last = next(numbers)

    def move(self, device: str) -> None:
        """To "cpu" or "cuda", in place, without its gradient; an older arena loses it."""
        if device == self.device:
            return
        data = to_device(self._data, device)
        if self._membership is not None:
            self._membership.stale = f"its parameters were moved to {device}"
        self._data, self._grad, self._membership = data, None, None
        Placing.last = next(numbers)

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        twin = memo[id(self)] = _rebuilt(type(self), self._data, self.decay, self.requires_grad)
        return twin

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (type(self), self._data, self.decay, self.requires_grad)


def _rebuilt(kind: type[Parameter], data: Array, decay: bool, requires_grad: bool) -> Parameter:
    """A copy or an unpickled Parameter: values without gradient and arena."""
    parameter = kind(data, decay)
    parameter.requires_grad = requires_grad
    return parameter
