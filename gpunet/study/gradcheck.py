"""Is a backward right? Its gradients beside central differences, in float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunet.backend import Array, array_module, to_host
from gpunet.context import frozen, no_grad
from gpunet.layer import Layer
from gpunet.precision import precision
from gpunet.study.watch import nodes_behind
from gpunet.tensor import Tensor
from gpunet.train.snapshot import same_values

Host = np.ndarray[Any, Any]

ELEMENTWISE = 2000  # elements; an input with more is checked along random directions
DIRECTIONS = 10
KINK = 1e-3  # one-sided slopes further apart than this share of the larger: no curvature does that


class GradcheckError(AssertionError):
    """A gradient differs from the central differences, or the function cannot be checked."""


def gradcheck(
    fn: Callable[..., Tensor],
    inputs: Any,
    *,
    eps: float = 1e-6,
    rtol: float = 1e-5,
    atol: float = 1e-7,
    seed: int = 0,
    directions: int | None = None,
) -> bool:
    """Compare the gradients of `fn(*inputs)` with central differences.

    The output is weighted with a random upstream gradient: with ones, sum(BatchNorm(x)) is a
    constant, and a backward that returns zeros would pass. Meanwhile no running statistic and no
    dropout mask moves (`context.frozen`); values and gradients are as before when it returns, also
    those of parameters that `fn` holds.

    Args:
        fn: a function of Tensors that returns one Tensor, or a Layer, whose parameters are then
            checked too.
        inputs: one, or a list. Float arrays and Tensors with requires_grad are checked; integer
            arrays (labels, say) and Tensors without requires_grad are constants.
        eps: half the distance of the two points, times max(1, |x|).
        rtol, atol: two gradients a, b agree if |a - b| <= atol + rtol * max(|a|, |b|).
        seed: of the upstream gradient and the directions.
        directions: check each input along this many random directions. By default that is done,
            along 10 of them, for inputs of more than 2,000 elements; others go element by element.

    Returns:
        True.

    Raises:
        GradcheckError: a gradient is wrong (the message has the input, the index, both gradients
            and the values near it, and says if the point looks like a kink), nan or of a wrong
            shape; `fn` or its backward changes what it was given; `fn` is not a function of its
            inputs alone.
        TypeError: a float input, a parameter or the output is not float64.
        ValueError: nothing to check.
        RuntimeError: matrix products are set to fewer bits (`gpunet.matmul_precision`).
    """
    if precision() != "float32":
        raise RuntimeError(
            f'matrix products are set to "{precision()}", and differences of rounded products say '
            'nothing: call gradcheck inside `with gpunet.matmul_precision("float32"):`'
        )
    check = _Check(fn, inputs, eps=eps, rtol=rtol, atol=atol)
    # A stream of its own: an upstream gradient equal to an x from default_rng(0) hides much.
    generator = np.random.default_rng([seed, *b"gradcheck"])
    with frozen(), same_values([leaf.tensor for leaf in check.leaves]):
        check.backward(generator)
        for leaf in check.leaves:
            if directions is None and leaf.start.size <= ELEMENTWISE:
                check.elementwise(leaf)
            else:
                check.along(leaf, generator, DIRECTIONS if directions is None else directions)
    return True


@dataclass
class _Leaf:
    """An array that is checked: where it is, what it held, and the gradient backward gave it."""

    name: str
    tensor: Tensor
    start: Host
    gradient: Host

    def put(self, values: Host) -> None:
        self.tensor.data[...] = array_module(self.tensor.data).asarray(values)


class _Check:
    def __init__(
        self, fn: Callable[..., Tensor], inputs: Any, *, eps: float, rtol: float, atol: float
    ) -> None:
        self.fn, self.eps, self.rtol, self.atol = fn, eps, rtol, atol
        given = inputs if isinstance(inputs, (list, tuple)) else [inputs]
        self.arguments = [_argument(f"input {k}", x) for k, x in enumerate(given)]
        named = [(f"input {k}", x) for k, x in enumerate(self.arguments)]
        if isinstance(fn, Layer):
            named += [(f"parameter {name}", p) for name, p in fn.named_parameters()]
        self.given = [
            (name, x, to_host(a).copy()) for name, x in named if (a := _array(x)) is not None
        ]
        self.leaves: list[_Leaf] = []
        seen: set[int] = set()
        for name, x in named:
            if isinstance(x, Tensor) and x.requires_grad and id(x) not in seen:
                seen.add(id(x))
                self.leaves.append(_leaf(name, x))
        if not self.leaves:
            raise ValueError(
                "nothing to check: give float64 arrays, or Tensors with requires_grad=True"
            )
        self.upstream = np.zeros(())

    def backward(self, generator: np.random.Generator) -> None:
        """Run forward and backward once, and keep every gradient."""
        for leaf in self.leaves:
            leaf.tensor.grad = None
        y = self._output()
        self.upstream = generator.standard_normal(y.shape)
        self._back(y)
        for leaf in self.leaves:
            if leaf.tensor.grad is not None:  # None: never reached, which is a gradient of 0
                leaf.gradient = to_host(leaf.tensor.grad).copy()
            if not np.isfinite(leaf.gradient).all():
                index = tuple(int(k) for k in np.argwhere(~np.isfinite(leaf.gradient))[0])
                raise GradcheckError(
                    f"the gradient of {leaf.name} (shape {leaf.start.shape}) at {list(index)} is "
                    f"{leaf.gradient[index]}\n{_near(leaf, index)}"
                )

    def _output(self) -> Tensor:
        """Of one forward, which must be a function of its inputs alone."""
        y = self.fn(*self.arguments)
        if not isinstance(y, Tensor):
            raise TypeError(f"gradcheck needs a function that returns a Tensor, got {type(y)}")
        if y.dtype != np.float64:
            raise TypeError(f"gradcheck needs float64 throughout, but the output is {y.dtype}")
        self._unchanged("forward")
        first = to_host(y.data).copy()
        if not np.array_equal(first, self.values(), equal_nan=True):
            raise GradcheckError(
                "two runs on the same inputs give different outputs: something inside is random "
                "or keeps state (BatchNorm and Dropout of gpunet are held still)"
            )
        if not np.isfinite(first).all():
            raise GradcheckError("the output holds nan or infinite values")
        return y

    def _back(self, y: Tensor) -> None:
        """The upstream gradient through the tape; only the leaves keep what comes to them."""
        gy = array_module(y.data).asarray(self.upstream.copy())
        own = {id(leaf.tensor) for leaf in self.leaves}
        others = [(t, _copied(t.grad)) for t in _reached(y) if id(t) not in own]
        try:
            y.backward(gy)
        except Exception as error:
            raise GradcheckError(f"backward failed: {error}") from error
        finally:
            for other, gradient in others:
                other.grad = gradient
        if not np.array_equal(to_host(gy), self.upstream):
            raise GradcheckError("backward changed the upstream gradient in place")
        self._unchanged("backward")

    def _unchanged(self, what: str) -> None:
        for name, x, start in self.given:
            if not np.array_equal(to_host(_array(x)), start, equal_nan=True):
                raise GradcheckError(f"{what} changed {name} in place")

    # Central differences

    def values(self) -> Host:
        """The output for what the leaves hold now."""
        with no_grad():
            values: Host = to_host(self.fn(*self.arguments).data).copy()
        return values

    def beside(self, leaf: _Leaf, direction: Host, step: float) -> tuple[Host, Host]:
        """The outputs a step back and a step forward along `direction`."""
        found = []
        for signed in (-step, step):
            leaf.put(leaf.start + signed * direction)
            found.append(self.values())
        leaf.put(leaf.start)
        return found[0], found[1]

    def central(self, leaf: _Leaf, direction: Host, step: float) -> float:
        """The central difference of the weighted output along `direction`."""
        below, above = self.beside(leaf, direction, step)
        # Weighted after the subtraction: the difference of two sums would round off far more.
        return float(((above - below) * self.upstream).sum() / (2 * step))

    def slopes(self, leaf: _Leaf, direction: Host, step: float) -> tuple[float, float]:
        """The backward and the forward difference."""
        middle, (below, above) = self.values(), self.beside(leaf, direction, step)
        weigh = self.upstream / step
        return float(((middle - below) * weigh).sum()), float(((above - middle) * weigh).sum())

    def agree(self, a: float, b: float) -> bool:
        return abs(a - b) <= self.atol + self.rtol * max(abs(a), abs(b))

    def elementwise(self, leaf: _Leaf) -> None:
        wrong = {}
        for index in np.ndindex(leaf.start.shape):
            numeric = self.central(leaf, *self._unit(leaf, index))
            if not self.agree(float(leaf.gradient[index]), numeric):
                wrong[index] = numeric
        if wrong:
            worst = max(wrong, key=lambda index: abs(leaf.gradient[index] - wrong[index]))
            what = f"the worst of {len(wrong)} wrong elements out of {leaf.start.size}"
            self._fail(leaf, worst, wrong[worst], what)

    def along(self, leaf: _Leaf, generator: np.random.Generator, directions: int) -> None:
        scale = float(np.sqrt((leaf.start**2).mean())) if leaf.start.size else 0.0
        step = self.eps * max(1.0, scale)
        for number in range(directions):
            # Signs weigh every element alike; length 1 keeps few of them from crossing a kink.
            direction = generator.choice([-1.0, 1.0], leaf.start.shape)
            direction /= np.sqrt(max(direction.size, 1))
            numeric = self.central(leaf, direction, step)
            analytic = float((leaf.gradient * direction).sum())
            if not self.agree(analytic, numeric):
                index = self._search(leaf, direction, step)
                what = (
                    f"found by halving random direction {number}, along which backward gives "
                    f"{analytic!r} and differences give {numeric!r}"
                )
                self._fail(leaf, index, self.central(leaf, *self._unit(leaf, index)), what)

    def _search(self, leaf: _Leaf, direction: Host, step: float) -> tuple[int, ...]:
        """The element with a wrong gradient, by following the half that is further off."""
        low, high = 0, direction.size
        while high - low > 1:
            middle = (low + high) // 2
            first, second = self._off(leaf, direction, step, low, middle, high)
            low, high = (low, middle) if first >= second else (middle, high)
        return tuple(int(k) for k in np.unravel_index(low, direction.shape))

    def _off(
        self, leaf: _Leaf, direction: Host, step: float, low: int, middle: int, high: int
    ) -> list[float]:
        found = []
        for part in (slice(low, middle), slice(middle, high)):
            only = np.zeros_like(direction)
            only.flat[part] = direction.flat[part]
            only /= np.linalg.norm(only)
            numeric = self.central(leaf, only, step)
            weight = np.sqrt(part.stop - part.start)  # back to one length per element
            found.append(abs(float((leaf.gradient * only).sum()) - numeric) * weight)
        return found

    def _unit(self, leaf: _Leaf, index: tuple[int, ...]) -> tuple[Host, float]:
        """The direction of one element, and its step."""
        direction = np.zeros(leaf.start.shape)
        direction[index] = 1.0
        return direction, self.eps * max(1.0, abs(float(leaf.start[index])))

    def _fail(self, leaf: _Leaf, index: tuple[int, ...], numeric: float, what: str) -> None:
        direction, step = self._unit(leaf, index)
        below, above = self.slopes(leaf, direction, step)
        lines = [
            f"the gradient of {leaf.name} (shape {leaf.start.shape}) is wrong at {list(index)}, "
            f"{what}",
            f"  backward gives     {float(leaf.gradient[index])!r}",
            f"  differences give   {numeric!r} (step {step:.3g})",
            _near(leaf, index),
        ]
        if abs(above - below) > self.atol + KINK * max(abs(above), abs(below)):
            lines.append(
                f"  near a kink: the slope is {below!r} on one side and {above!r} on the other; "
                "move the input away from it, or take a smaller eps"
            )
        raise GradcheckError("\n".join(lines))


def _argument(name: str, x: Any) -> Any:
    """What fn gets: a Tensor to check for a float array (a copy), anything else as it is."""
    if isinstance(x, list):
        x = np.asarray(x)
    if array_module(x) is None or x.dtype.kind != "f":
        return x
    _need_float64(name, x)
    return Tensor(x.copy(), requires_grad=True)


def _array(x: Any) -> Array | None:
    """The array of a Tensor or an array, None for anything else."""
    x = x.data if isinstance(x, Tensor) else x
    return None if array_module(x) is None else x


def _leaf(name: str, x: Tensor) -> _Leaf:
    _need_float64(name, x.data)
    if not x.is_leaf:
        raise ValueError(f"{name} was computed by an op; give x.detach() with requires_grad=True")
    start = to_host(x.data).copy()
    return _Leaf(name, x, start, np.zeros_like(start))


def _need_float64(name: str, x: Array) -> None:
    if x.dtype != np.float64:
        raise TypeError(
            f"gradcheck needs float64, {name} is {x.dtype}: differences of smaller floats say "
            "nothing; use array.astype(numpy.float64) and layers with dtype=numpy.float64"
        )


def _copied(array: Array | None) -> Array | None:
    return None if array is None else array.copy()


def _reached(y: Tensor) -> list[Tensor]:
    """Every leaf that backward from `y` would give a gradient: also those that fn holds itself."""
    if y.node is None:
        return [y]
    parents = (parent for node in nodes_behind(y.node) for parent in node.parents)
    return list({id(p): p for p in parents if isinstance(p, Tensor)}.values())


def _near(leaf: _Leaf, index: tuple[int, ...]) -> str:
    """The values beside the element, along the last axis."""
    if not index:
        return f"  the input is       {float(leaf.start)!r}"
    row, k = leaf.start[index[:-1]], index[-1]
    first = max(k - 2, 0)
    shown = [f"{v:.6g}" for v in row[first : k + 3]]
    shown[k - first] = f">{shown[k - first]}<"
    place = "".join(f"{i}, " for i in index[:-1])
    return f"  inputs near it     [{place}{first}:{first + len(shown)}] = {', '.join(shown)}"
