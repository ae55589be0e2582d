"""Training data for the model's device, checked once, handed out in mini-batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import numpy as np

from gpunet import weights, where
from gpunet.backend import (
    Array,
    array_module,
    device_of,
    module_for,
    need_numbers,
    to_device,
    to_host,
)
from gpunet.context import no_grad
from gpunet.layer import Layer
from gpunet.loss import Loss, as_loss
from gpunet.tensor import Tensor, as_array
from gpunet.train import stream as streaming
from gpunet.train.stream import HostRows, is_mapped

Group = Sequence[Array]  # the row numbers of each batch whose gradients make one update

TRIED = 1024  # rows that are tried on the model, where a batch has no size of its own
BLOCK_BYTES = 4 << 20  # of the data, looked at or moved at a time


class Feed:
    """Rows `x` with targets `t` for the device of `model`, tried on it and on `loss`.

    Args:
        data: (x, t) or (x, t, weight), or an object with `.x` and `.t`; NumPy or CuPy arrays with
            one row a sample, memory-mapped files among them. Floating numbers are made of the
            parameters' dtype, if that is one. weight: (rows,), what each counts in the loss; rows
            of weight 0 are left out.
        name: for error messages.
        rows: how many are tried; None tries all.
        stream: for a model on a GPU, whether x and t stay on the host and are copied batch by
            batch. None: if they would take more than half of the GPU's free memory. Else they are
            moved to the GPU once, whole.

    x, t: as they are held. What streams, or lies in a file, is left where it is and as it is, and
        converted when it is handed out; anything else is on the device and of the final dtype.
    weight: float64, held beside them; None without.
    used: the numbers of the rows that count, on the host; None where all do.
    xp: the module, `numpy` or `cupy`, of what is handed out.

    Raises:
        TypeError: data that is neither; arrays of something other than numbers.
        ValueError: no rows, different numbers of rows, an infinite number or a nan in x or t, a
            label out of range; weights that `weights.of_data` refuses; what the model or the loss
            do not accept; data to stream that is on the GPU already.
    """

    def __init__(
        self,
        data: Any,
        model: Layer,
        loss: Callable[[Any, Any], Tensor],
        name: str,
        stream: bool | None = None,
        rows: int | None = TRIED,
    ) -> None:
        self.name = name
        self.xp = module_for(model.device)
        dtypes = {p.dtype for p in model.parameters()}
        *given, weight = parts(data, name)
        (x, x_dtype), (t, t_dtype) = (
            _checked(array, f"{name}: {part}", dtypes)
            for array, part in zip(given, "xt", strict=True)
        )
        if len(x) != len(t):
            raise ValueError(f"{name}: x has {len(x)} rows but t has {len(t)}")
        if len(x) == 0:
            raise ValueError(f"{name}: no rows")
        self.weight: Array | None = None
        if weight is not None:
            self.weight = weights.of_data(weight, len(x), f"{name}: weight")
        self.used = None if self.weight is None else weights.rows_of(self.weight)
        size = x.size * x_dtype.itemsize + t.size * t_dtype.itemsize
        self._parts: list[HostRows] | None = None  # None where all is on the device
        if self._shall_stay(x, t, size, stream):
            self.x, self.t = to_host(x), to_host(t)
            self._parts = [HostRows(self.x, x_dtype), HostRows(self.t, t_dtype)]
            if self.weight is not None:
                self.weight = to_host(self.weight)
                self._parts.append(HostRows(self.weight, np.float64))
        else:
            self.x, self.t = _moved(x, x_dtype, model.device), _moved(t, t_dtype, model.device)
            if self.weight is not None:
                self.weight = to_device(self.weight, model.device)
        self._try(model, as_loss(loss), rows)

    def __len__(self) -> int:
        """How many rows are used."""
        return len(self.x) if self.used is None else len(self.used)

    def numbered(self, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """The numbers in x and t of such numbers among the rows that are used."""
        found: np.ndarray[Any, Any] = rows if self.used is None else self.used[rows]
        return found

    def in_order(self, size: int) -> list[Any]:
        """All rows that are used, `size` at a time, for `batches`."""
        starts = range(0, len(self), size)
        if self.used is None:
            return [slice(k, k + size) for k in starts]
        return self.moved([self.used[k : k + size] for k in starts])

    @property
    def in_memory(self) -> bool:
        """Whether all rows lie on the model's device."""
        return self._parts is None

    @property
    def streams(self) -> bool:
        """Whether batches are copied to the GPU one by one."""
        return self._parts is not None and self.xp is not np

    def rows(self, rows: Any) -> tuple[Array, ...]:
        """x, t and, if the feed has them, weights of a slice, or of an array of row numbers such as
        `moved` gives.
        """
        return (self._of(0, rows), *self.targets(rows))

    def targets(self, rows: Any) -> tuple[Array, ...]:
        """The same without x."""
        if self.weight is None:
            return (self._of(1, rows),)
        return self._of(1, rows), self._of(2, rows)

    def _of(self, part: int, rows: Any) -> Array:
        if self._parts is None:
            held: Any = (self.x, self.t, self.weight)[part]
            by_number = self.xp is np and not isinstance(rows, slice)
            taken: Array = held.take(rows, axis=0) if by_number else held[rows]  # is the quicker
            return taken
        return self.xp.asarray(self._parts[part].read(rows))

    def batches(self, groups: Sequence[Any]) -> Generator[tuple[Array, ...], None, None]:
        """`rows` of each of `groups`, slices or arrays of row numbers such as `moved` gives.

        If the feed streams, the next batch is copied while this one is computed on, and this one's
        arrays are good only until the next is asked for; see `gpunet.train.stream.batches`. Close
        the iterator if it is left before its end.
        """
        if self._parts is not None and self.xp is not np:
            return streaming.batches(self._parts, groups)
        return (self.rows(rows) for rows in groups)

    def check_scale(self, loss: Loss) -> None:
        """ValueError for targets that no network would reach; see `Loss.check_scale`."""
        try:
            loss.check_scale(block for _, block in self._targets())
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from None

    def _targets(self) -> Iterator[tuple[int, Array]]:
        """As `_blocks`; a row that is not used has the target of the first one that is."""
        t = self.t
        if self.weight is not None and self.used is not None:
            unused = (self.weight == 0).reshape(-1, *[1] * (t.ndim - 1))
            t = array_module(t).where(unused, t[int(self.used[0])], t)
        return _blocks(t, self.t.dtype if self._parts is None else self._parts[1].dtype)

    def moved(self, batches: Sequence[np.ndarray[Any, Any]]) -> list[Array]:
        """Arrays of row numbers, moved to where x and t are held in one go."""
        together = array_module(self.x).asarray(np.concatenate(batches))
        ends = np.cumsum([len(rows) for rows in batches]).tolist()
        return [together[a:b] for a, b in zip([0, *ends], ends, strict=False)]

    def _shall_stay(self, x: Array, t: Array, size: int, stream: bool | None) -> bool:
        """Whether x and t, `size` bytes in the end, are left on the host as they are."""
        if self.xp is np:
            return is_mapped(x) or is_mapped(t)
        if device_of(x) == "cpu":
            return size > streaming.free_bytes() / 2 if stream is None else stream
        if stream:
            raise ValueError(
                f"{self.name}: stream=True, but x is on the GPU already; give a NumPy array or a "
                "memory-mapped file, or leave stream out"
            )
        return False

    def _try(self, model: Layer, loss: Loss, rows: int | None) -> None:
        """A batch through model and loss, as large as those that come, for its shape is in the
        errors; and all targets past it. So what does not fit is said before training: a kernel
        cannot raise.
        """
        count = rows if isinstance(rows, int) and rows > 0 else len(self)
        x, t, *weight = self.rows(self.in_order(count)[0])
        quiet = np.errstate(over="ignore", invalid="ignore")  # weights may be large by now
        try:
            with model.evaluating(), no_grad(), quiet:
                z = model(x)
                for start, block in self._targets():
                    loss.check(as_array(z), block, start)
                value = loss(z, t, *weight)
        except (ValueError, TypeError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"{self.name}: {error}") from error
        if not isinstance(value, Tensor) or value.size != 1:
            found = f"shape {value.shape}" if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(f"{self.name}: the loss must be a Tensor of one number, got {found}")


def parts(data: Any, name: str) -> tuple[Any, Any, Any]:
    """x, t and weight (or None) as they are given; TypeError for what is neither two nor three."""
    if hasattr(data, "x") and hasattr(data, "t"):
        return data.x, data.t, getattr(data, "weight", None)
    if not isinstance(data, (tuple, list)) or len(data) not in (2, 3):
        raise TypeError(
            f"{name} must be a pair (x, t), or (x, t, weight), got {type(data).__name__}"
        )
    return data[0], data[1], data[2] if len(data) == 3 else None


def weighted(data: Any, weight: Any, name: str) -> Any:
    """`data` with these weights, if any. ValueError if it has some already."""
    if weight is None:
        return data
    x, t, own = parts(data, name)
    if own is not None:
        raise ValueError(f"{name} has weights already; give them once")
    return x, t, weight


def _checked(data: Any, what: str, dtypes: set[Any]) -> tuple[Array, np.dtype[Any]]:
    """An array of finite numbers where it is, and the dtype to make it of: the model's for floats,
    if that is one."""
    array = data.data if isinstance(data, Tensor) else data
    if array_module(array) in (None, np):
        try:
            array = np.asarray(array)  # a plain array of a memmap, too; nothing is read
        except ValueError as error:
            raise ValueError(f"{what} is no array: {error}") from None
    need_numbers(array, what)
    if array.ndim == 0:
        raise ValueError(f"{what} must have one row a sample, got a lone number")
    dtype = array.dtype.newbyteorder("=")  # a file may have the other
    if array.dtype.kind != "f":
        return array, dtype
    dtype = np.dtype(next(iter(dtypes))) if len(dtypes) == 1 else dtype
    for start, block in _blocks(array, dtype):
        place = where.not_finite(block, start)
        if place is not None:
            raise ValueError(
                f"{what} holds {array[place].item()} in {where.words(place)}, no finite {dtype}; "
                "clean the data"
            )
    return array, dtype


def _moved(array: Array, dtype: np.dtype[Any], device: str) -> Array:
    """The array on the device; it itself where it is there and of that dtype."""
    if device == "cpu" or device_of(array) == "cuda":
        return to_device(array.astype(dtype, copy=False), device)
    moved = module_for(device).empty(array.shape, dtype)
    for start, block in _blocks(array, dtype):  # the host needs no room for a second copy
        moved[start : start + len(block)].set(block)
    return moved


def _blocks(array: Array, dtype: np.dtype[Any]) -> Iterator[tuple[int, Array]]:
    """All rows, some BLOCK_BYTES at a time and made of `dtype`: (the first's number, the rows)."""
    row = math.prod(array.shape[1:]) * max(array.dtype.itemsize, dtype.itemsize)
    count = max(1, BLOCK_BYTES // max(1, row))
    for start in range(0, len(array), count):
        with np.errstate(over="ignore"):  # beyond float32's range: becomes inf
            block = array[start : start + count].astype(dtype, copy=False)
        yield start, block
