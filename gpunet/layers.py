"""Layers: parameters, state and mode around the ops of `functional`.

A layer of your own is a class with Parameters as attributes and `call(self, x)`:

    class Scale(gn.Layer):
        def __init__(self, features):
            self.gain = gn.Parameter(np.ones(features, np.float32))

        def call(self, x):
            return x * self.gain
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from operator import attrgetter
from typing import Any, overload

import numpy as np

from gpunet import clock, functional, initializers, losses, rng
from gpunet.backend import Array, array_module, device_of, module_for, to_device, to_host
from gpunet.parameter import Parameter
from gpunet.tape import numbers
from gpunet.tensor import Tensor

Observer = Callable[["Layer", Tensor], None]
_observer: ContextVar[Observer | None] = ContextVar("gpunet_observer", default=None)


@contextmanager
def observe(observer: Observer) -> Iterator[None]:
    """Inside it `observer(layer, output)` sees the output of every layer that is called."""
    token = _observer.set(observer)
    try:
        yield
    finally:
        _observer.reset(token)


def is_observed() -> bool:
    """True inside `observe`."""
    return _observer.get() is not None


_frozen: ContextVar[bool] = ContextVar("gpunet_frozen", default=False)


@contextmanager
def frozen() -> Iterator[None]:
    """Inside it no layer changes its own state: BatchNorm keeps its running statistics, Dropout
    draws the mask of its next training call again and again. For gradient checks.
    """
    token = _frozen.set(True)
    try:
        yield
    finally:
        _frozen.reset(token)


def is_frozen() -> bool:
    """True inside `frozen`."""
    return _frozen.get()


class Layer:
    """A function with parameters. Subclasses write `call`; users call the layer.

    Attributes found by name, in the order they were set: Parameters, other Layers (also in lists
    and tuples), and the arrays named in `buffers` (state that is saved but not trained).
    """

    training: bool = True
    buffers: tuple[str, ...] = ()
    _by_hand: tuple[list[Tensor], Tensor] | None = None

    def call(self, *inputs: Any) -> Tensor:
        """The layer's function on Tensors."""
        raise NotImplementedError(f"{type(self).__name__} has no call(self, x)")

    def __call__(self, *inputs: Any) -> Tensor:
        """Apply to Tensors or arrays; recorded on the tape."""
        recorded = clock.recorded()
        if recorded is not None:
            recorded.saw(self)
        first = next(numbers)
        y = self.call(*(x if isinstance(x, Tensor) else Tensor(x) for x in inputs))
        node = getattr(y, "_node", None)
        if node is not None and node.number > first:  # not an input handed on
            node.calls = (type(self), first, node.calls)
        observer = _observer.get()
        if observer is not None:
            observer(self, y)
        return y

    # The layer by hand: forward, then backward, on plain arrays

    def forward(self, *inputs: Array) -> Array:
        """By hand: the output as a plain array; `backward` then takes its gradient."""
        tensors = [Tensor(x) for x in inputs]
        if tensors[0].dtype.kind == "f":
            tensors[0].requires_grad = True
        y = self(*tensors)
        self._by_hand = (tensors, y)
        return y.data

    def backward(self, gy: Any = None) -> Any:
        """By hand: the gradient of the last `forward`'s input (of the first, if there are more;
        None for integers).

        The parameters' gradients are added to their `.grad`. `gy` has the output's shape; for a
        loss it may be left out. RuntimeError without a `forward` before it, outside `no_grad`.
        """
        if self._by_hand is None:
            raise RuntimeError(f"{type(self).__name__}.backward needs a forward(x) before it")
        tensors, y = self._by_hand
        self._by_hand = None
        y.backward(gy)
        return tensors[0].grad

    def __getstate__(self) -> dict[str, Any]:
        """What copies and pickles hold: all but the graph of a `forward` by hand."""
        return {name: value for name, value in vars(self).items() if name != "_by_hand"}

    # What is inside

    def children(self) -> Iterator[tuple[str, Layer]]:
        for name, value in vars(self).items():
            if isinstance(value, Layer):
                yield name, value
            elif isinstance(value, (list, tuple)):
                inside = ((f"{name}.{k}", layer) for k, layer in enumerate(value))
                yield from (pair for pair in inside if isinstance(pair[1], Layer))

    def named_layers(self, prefix: str = "") -> Iterator[tuple[str, Layer]]:
        """Every layer below this one, with its dotted name, outside in."""
        for name, child in self.children():
            yield prefix + name, child
            yield from child.named_layers(f"{prefix}{name}.")

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Parameter]]:
        for name, value in vars(self).items():
            if isinstance(value, Parameter):
                yield prefix + name, value
        for name, child in self.children():
            yield from child.named_parameters(f"{prefix}{name}.")

    def named_buffers(self, prefix: str = "") -> Iterator[tuple[str, Array]]:
        for name in self.buffers:
            yield prefix + name, getattr(self, name)
        for name, child in self.children():
            yield from child.named_buffers(f"{prefix}{name}.")

    def parameters(self) -> list[Parameter]:
        """Every parameter once, in the order the layers were written down."""
        return list({id(p): p for _, p in self.named_parameters()}.values())

    def zero_grad(self) -> None:
        for p in self.parameters():
            p.grad = None

    def structure(self) -> Callable[[], Any]:
        """A function that tells what a recorded step depends on: mode, plain settings, and where
        the arrays lie. It runs before every launch.
        """
        names = ["training"]
        for name, value in vars(self).items():
            if isinstance(value, Parameter):
                names += [f"{name}.requires_grad", f"{name}.data.data.ptr"]
            elif name in self.buffers:
                names.append(f"{name}.data.ptr")
            elif value is None or isinstance(value, (Layer, tuple, bool, int, float, str)):
                names += [] if name in ("calls", "_base") else [name]
        return partial(attrgetter(*names), self)

    # Mode and place

    def train(self, mode: bool = True) -> Layer:
        """Batch statistics and dropout on; returns the layer."""
        self.training = mode
        for _, child in self.children():
            child.train(mode)
        return self

    def eval(self) -> Layer:
        """Running statistics, no dropout; returns the layer."""
        return self.train(False)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Evaluation mode inside; every layer's own mode comes back after it."""
        layers = [self, *(child for _, child in self.named_layers())]
        modes = [layer.training for layer in layers]
        self.eval()
        try:
            yield
        finally:
            for layer, mode in zip(layers, modes, strict=True):
                layer.training = mode

    def to(self, device: str) -> Layer:
        """Move parameters and buffers to "cpu" or "cuda"; returns the layer.

        Make the optimizer after it: one made before refuses its next step. ValueError for another
        word, DeviceError without a usable GPU; nothing has moved then.
        """
        module_for(device)
        for p in self.parameters():
            p.move(device)
        self._move_buffers(device)
        return self

    def _move_buffers(self, device: str) -> None:
        for name in self.buffers:
            setattr(self, name, to_device(getattr(self, name), device))
        for _, child in self.children():
            child._move_buffers(device)

    @property
    def device(self) -> str:
        """Where the parameters (or else the buffers) live; "cpu" for a layer without any."""
        arrays = [p.data for p in self.parameters()] + [b for _, b in self.named_buffers()]
        return device_of(arrays[0]) if arrays else "cpu"

    # Saving

    def state_dict(self) -> dict[str, Array]:
        """Copies of parameters and buffers by dotted name, on their device."""
        named = [(n, p.data) for n, p in self.named_parameters()] + list(self.named_buffers())
        return {name: array.copy() for name, array in named}

    def load_state_dict(self, state: Mapping[str, Array], strict: bool = True) -> None:
        """Copy `state` into parameters and buffers. Nothing is changed if anything is wrong.

        Raises:
            ValueError: names missing or unexpected (unless strict=False), another shape, or no
                numbers.
        """
        own = {n: p.data for n, p in self.named_parameters()} | dict(self.named_buffers())
        state = {name: _plain(array) for name, array in state.items()}
        problems = []
        if strict:
            problems += [f"missing: {name}" for name in own if name not in state]
            problems += [f"unexpected: {name}" for name in state if name not in own]
        for name in own.keys() & state.keys():
            given, wanted = tuple(state[name].shape), tuple(own[name].shape)
            if given != wanted:
                problems.append(f"{name} has shape {wanted}, state has {given}")
            if state[name].dtype.kind not in "fiub":
                problems.append(f"{name} holds {state[name].dtype}, not numbers")
        if problems:
            raise ValueError("state does not fit the model: " + "; ".join(sorted(problems)))
        for name in own.keys() & state.keys():
            own[name][...] = to_device(state[name], device_of(own[name]))

    # What it says of itself

    def config(self) -> dict[str, Any]:
        """The constructor's arguments as JSON values, so that `load` can rebuild the layer."""
        raise NotImplementedError(
            f"{type(self).__name__} cannot be described: write config(self) returning the "
            "constructor's arguments, or save model.state_dict() yourself"
        )

    def __repr__(self) -> str:
        try:
            inside = ", ".join(f"{k}={v!r}" for k, v in self.config().items())
        except NotImplementedError:
            inside = ", ".join(f"{n}: {tuple(p.shape)}" for n, p in self.named_parameters())
        return f"{type(self).__name__}({inside})"


def _plain(array: Any) -> Array:
    array = array.data if isinstance(array, Tensor) else array
    return np.asarray(array) if array_module(array) is None else array


def _dtype(dtype: Any) -> np.dtype[Any]:
    try:
        found: np.dtype[Any] | None = None if dtype is None else np.dtype(dtype)
    except TypeError:
        found = None
    if found is None or found not in (np.float32, np.float64):
        raise ValueError(f"dtype must be float32 or float64, got {found or repr(dtype)}")
    return found


def _share(value: Any, name: str) -> float:
    number = isinstance(value, (int, float, np.integer, np.floating))
    if not number or not 0 <= value <= 1:
        raise ValueError(f"{name} must lie in [0, 1], got {value!r}")
    return float(value)


def _size(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} must be a whole number from 1, got {value!r}")
    return int(value)


class Affine(Layer):
    """y = x W + b.

    Args:
        in_features, out_features: sizes; W has shape (in, out), b (out,).
        init: an initializer, or a function (generator, shape) -> array. The default is He, for
            the ReLU that most often follows; Sequential and MLP know what follows and choose by it.
        bias: False leaves b out.
        dtype: float32 or float64. Input of another dtype is converted to it.

    ValueError for a bad size or dtype, or an initializer that returns another shape.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        init: initializers.Initializer | None = None,
        bias: bool = True,
        dtype: Any = np.float32,
    ) -> None:
        self.in_features = _size(in_features, "in_features")
        self.out_features = _size(out_features, "out_features")
        self.dtype = _dtype(dtype)
        self._given = init is not None
        self._init = init or initializers.He()
        self._seed = rng.draw_seed()
        self.W = Parameter(self._draw())
        self.b = Parameter(np.zeros(self.out_features, self.dtype), decay=False) if bias else None

    def _draw(self) -> Array:
        generator = rng.from_seed(self._seed)
        shape = (self.in_features, self.out_features)
        W = np.asarray(self._init(generator, shape), self.dtype)
        if W.shape != shape:
            raise ValueError(f"init returned shape {W.shape}, W of this Affine has {shape}")
        return W

    def follow(self, activation: str | None) -> None:
        """Draw W anew for the activation that follows, unless an initializer was given or W is no
        longer as it was drawn: trained layers may be put together anew.
        """
        init = initializers.for_activation(activation)
        if self._given or init == self._init:
            return
        if np.array_equal(to_host(self.W.data), self._draw()):
            self._init = init
            self.W.data = self._draw()

    def call(self, x: Tensor) -> Tensor:
        return functional.affine(x, self.W, self.b)

    def config(self) -> dict[str, Any]:
        return {
            "in_features": self.in_features,
            "out_features": self.out_features,
            "bias": self.b is not None,
            "dtype": self.dtype.name,
        }


class ReLU(Layer):
    """max(x, 0); the subgradient at 0 is 0."""

    def call(self, x: Tensor) -> Tensor:
        return functional.relu(x)

    def config(self) -> dict[str, Any]:
        return {}


class Sigmoid(Layer):
    """1 / (1 + exp(-x))."""

    def call(self, x: Tensor) -> Tensor:
        return functional.sigmoid(x)

    def config(self) -> dict[str, Any]:
        return {}


class Tanh(Layer):
    """Hyperbolic tangent."""

    def call(self, x: Tensor) -> Tensor:
        return functional.tanh(x)

    def config(self) -> dict[str, Any]:
        return {}


class Rescale(Layer):
    """y = x * scale. In front of a model it takes data as it is stored, such as bytes with
    scale = 1 / 255, which then lie on a GPU in a quarter of the memory.

    Args:
        scale: a finite number.
        dtype: float32 or float64, of the output.
    """

    def __init__(self, scale: float, dtype: Any = np.float32) -> None:
        number = isinstance(scale, (int, float, np.integer, np.floating))
        if not number or not np.isfinite(scale):
            raise ValueError(f"scale must be a finite number, got {scale!r}")
        self.scale, self.dtype = float(scale), _dtype(dtype)

    def call(self, x: Tensor) -> Tensor:
        return functional.rescale(x, scale=self.scale, dtype=self.dtype)

    def config(self) -> dict[str, Any]:
        return {"scale": self.scale, "dtype": self.dtype.name}


class BatchNorm(Layer):
    """Batch normalisation (Ioffe & Szegedy 2015) of (batch, features), PyTorch's conventions.

    Args:
        features: size of the last axis.
        momentum: share of the new statistic in the running ones.
        eps: added to the variance under the root (not to the running variance).
        dtype: float32 or float64. Input of another dtype is converted to it.

    Training on one row raises ValueError. The running variance is the unbiased one, from 1; the
    running mean starts from 0. `track = False` freezes the running statistics of this layer,
    `frozen()` those of all.
    """

    buffers = ("running_mean", "running_var")

    def __init__(
        self, features: int, momentum: float = 0.1, eps: float = 1e-5, dtype: Any = np.float32
    ) -> None:
        if not 0 <= eps < np.inf:
            raise ValueError(f"eps must be at least 0 and finite, got {eps}")
        self.features = _size(features, "features")
        self.momentum, self.eps = _share(momentum, "momentum"), float(eps)
        self.dtype = _dtype(dtype)
        self.track = True
        self.gamma = Parameter(np.ones(self.features, self.dtype), decay=False)
        self.beta = Parameter(np.zeros(self.features, self.dtype), decay=False)
        self.running_mean: Array = np.zeros(self.features, self.dtype)
        self.running_var: Array = np.ones(self.features, self.dtype)

    def call(self, x: Tensor) -> Tensor:
        keep = not self.training or (self.track and not _frozen.get())
        return functional.batch_norm(
            x,
            self.gamma,
            self.beta,
            running_mean=self.running_mean if keep else None,
            running_var=self.running_var if keep else None,
            training=self.training,
            momentum=self.momentum,
            eps=self.eps,
        )

    def config(self) -> dict[str, Any]:
        return {
            "features": self.features,
            "momentum": self.momentum,
            "eps": self.eps,
            "dtype": self.dtype.name,
        }


class Dropout(Layer):
    """Inverted dropout (Srivastava et al. 2014): in training, zero with probability p and scale
    the rest by 1 / (1 - p); the identity in evaluation.

    Args:
        p: the share that is dropped, in [0, 1].
        seed: key of the mask's generator; drawn from `gpunet.seed`'s generator by default. The
            n-th training call of a layer has the same mask on every device.

    ValueError for a p outside [0, 1], or a seed outside [0, 2^64).
    """

    def __init__(self, p: float = 0.5, seed: int | None = None) -> None:
        self.p = _share(p, "p")
        self.seed = rng.draw_seed() if seed is None else seed
        rng.check_word(self.seed, "seed")
        self.calls = 0

    def call(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        recorded = clock.recorded()
        if recorded is not None:
            return functional.dropout(x, p=self.p, seed=self.seed, step=self.follow(recorded))
        y = functional.dropout(x, p=self.p, seed=self.seed, step=self.calls)
        self.calls += not _frozen.get()
        return y

    # In a captured step; see gpunet.clock

    def follow(self, recorded: clock.Clock) -> int:
        """Take part in a recorded batch; what the device adds its count of calls to."""
        recorded.follow(self)
        if not recorded.capturing:
            self._base = self.calls - recorded.now[clock.CALL]
        return self._base % 2**64

    def prepare(self, recorded: clock.Clock, steps: int) -> None:
        """Ask for a clock that stands where `calls` does, in case that was changed by hand."""
        recorded.wanted.add(self.calls - self._base)

    def advance(self, updates: int, calls: int) -> None:
        """Count the calls that a captured step made."""
        self.calls += calls

    def config(self) -> dict[str, Any]:
        return {"p": self.p, "seed": self.seed}


ACTIVATIONS: dict[str, type[Layer]] = {"relu": ReLU, "sigmoid": Sigmoid, "tanh": Tanh}


class Sequential(Layer):
    """Layers one after another, named "0", "1", ...; `model[i]`, `len(model)` and iteration work.

    A slice is a Sequential of the same layers. An Affine without an initializer of its own is drawn
    for the activation that follows it.
    """

    def __init__(self, *layers: Layer) -> None:
        for position, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                raise TypeError(
                    f"layer {position} of Sequential is a {type(layer).__name__}, expected a Layer"
                )
        self.layers = layers
        for position, layer in enumerate(layers):
            if isinstance(layer, Affine):
                layer.follow(_activation_after(layers[position + 1 :]))

    def children(self) -> Iterator[tuple[str, Layer]]:
        return ((str(k), layer) for k, layer in enumerate(self.layers))

    def call(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x

    def __len__(self) -> int:
        return len(self.layers)

    @overload
    def __getitem__(self, index: int) -> Layer: ...

    @overload
    def __getitem__(self, index: slice) -> Sequential: ...

    def __getitem__(self, index: int | slice) -> Layer:
        if not isinstance(index, slice):
            return self.layers[index]
        part = Sequential()  # the layers put in afterwards: nothing is drawn anew
        part.layers = self.layers[index]
        part.training = self.training
        return part

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __repr__(self) -> str:
        lines = "".join(f"\n  {k}: {layer!r}" for k, layer in enumerate(self.layers))
        return f"{type(self).__name__}({lines}\n)" if lines else f"{type(self).__name__}()"

    def config(self) -> dict[str, Any]:
        return {"layers": [describe(layer) for layer in self.layers]}


def _activation_after(layers: Sequence[Layer]) -> str | None:
    """The activation before the next Affine, or None."""
    for layer in layers:
        if isinstance(layer, (Affine, Sequential)):
            return None
        for name, kind in ACTIVATIONS.items():
            if isinstance(layer, kind):
                return name
    return None


class MLP(Sequential):
    """Affine, BatchNorm (if asked), activation and Dropout (if asked) for each hidden layer, and
    an Affine at the end.

    Args:
        sizes: layer sizes from input to output, two at least.
        activation: "relu", "sigmoid" or "tanh".
        batch_norm: BatchNorm between the weighted sum and the activation.
        dropout: Dropout(p) after the activation; 0 leaves it out.
        dtype: float32 or float64.

    ValueError for a setting outside its range.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str = "relu",
        batch_norm: bool = False,
        dropout: float = 0.0,
        dtype: Any = np.float32,
    ) -> None:
        if not np.iterable(sizes) or len(sizes) < 2:
            raise ValueError(f"sizes needs an input and an output size, got {sizes!r}")
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}: {activation!r}")
        self.sizes = [_size(n, "each of sizes") for n in sizes]
        self.activation, self.batch_norm = activation, bool(batch_norm)
        self.dropout = _share(dropout, "dropout")
        self.dtype = _dtype(dtype)
        layers: list[Layer] = []
        for before, after in zip(self.sizes[:-2], self.sizes[1:-1], strict=True):
            layers.append(Affine(before, after, dtype=dtype))
            layers += [BatchNorm(after, dtype=dtype)] if batch_norm else []
            layers.append(ACTIVATIONS[activation]())
            layers += [Dropout(dropout)] if dropout else []
        super().__init__(*layers, Affine(self.sizes[-2], self.sizes[-1], dtype=dtype))

    def config(self) -> dict[str, Any]:
        return {
            "sizes": self.sizes,
            "activation": self.activation,
            "batch_norm": self.batch_norm,
            "dropout": self.dropout,
            "dtype": self.dtype.name,
        }


# Losses, as layers: called with (prediction, target)


class SoftmaxWithLoss(Layer):
    """Softmax and cross-entropy in one; see `losses.softmax_cross_entropy`.

    class_weights may lie anywhere: they are brought to the logits' device and dtype once.
    """

    def __init__(self, label_smoothing: float = 0.0, class_weights: Any = None) -> None:
        losses.check_smoothing(label_smoothing)
        self.label_smoothing = label_smoothing
        self.class_weights = None if class_weights is None else _weights(class_weights)
        self._placed: tuple[Any, Array] = (None, np.zeros(0))

    def call(self, z: Tensor, t: Tensor) -> Tensor:
        return losses.softmax_cross_entropy(
            z, t, label_smoothing=self.label_smoothing, class_weights=self._beside(z)
        )

    def _beside(self, z: Tensor) -> Array | None:
        weights = self.class_weights
        if weights is None:
            return None
        dtype = z.dtype if z.dtype.kind == "f" else np.float32
        source, placed = self._placed
        if source is not weights or placed.dtype != dtype or device_of(placed) != z.device:
            placed = to_device(weights.astype(dtype), z.device)
            self._placed = weights, placed
        return placed


def _weights(class_weights: Any) -> np.ndarray[Any, Any]:
    found: np.ndarray[Any, Any] = to_host(_plain(class_weights)).astype(np.float64)
    if found.ndim != 1 or not found.size or not (np.isfinite(found) & (found >= 0)).all():
        raise ValueError(
            f"class_weights must be a row of finite numbers from 0, got {class_weights!r}"
        )
    return found


class MeanSquaredError(Layer):
    """Squared error; see `losses.mean_squared_error`."""

    def __init__(self, reduction: str = "mean") -> None:
        losses.check_reduction(reduction)
        self.reduction = reduction

    def call(self, y: Tensor, t: Tensor) -> Tensor:
        return losses.mean_squared_error(y, t, reduction=self.reduction)


class KLDivergence(Layer):
    """KL(t || softmax(z)); see `losses.kl_divergence`."""

    def call(self, z: Tensor, t: Tensor) -> Tensor:
        return losses.kl_divergence(z, t)


class SigmoidWithLoss(Layer):
    """Sigmoid and binary cross-entropy in one; see `losses.sigmoid_cross_entropy`."""

    def call(self, z: Tensor, t: Tensor) -> Tensor:
        return losses.sigmoid_cross_entropy(z, t)


KINDS: dict[str, type[Layer]] = {
    kind.__name__: kind
    for kind in (Affine, ReLU, Sigmoid, Tanh, BatchNorm, Dropout, Rescale, Sequential, MLP)
}


def describe(layer: Layer) -> dict[str, Any]:
    """{"kind": class name, **constructor arguments}, in JSON values."""
    return {"kind": type(layer).__name__, **layer.config()}


def build(description: Mapping[str, Any], kinds: Mapping[str, type[Layer]] = KINDS) -> Layer:
    """The layer that `describe` described. ValueError for a kind that is not in `kinds`."""
    arguments = dict(description)
    kind = arguments.pop("kind", None)
    if kind not in kinds:
        raise ValueError(
            f"unknown layer kind {kind!r}; known: {', '.join(sorted(kinds))}; "
            "give layers of your own as load(path, layers=[...])"
        )
    if kind == "Sequential":
        return Sequential(*(build(inner, kinds) for inner in arguments["layers"]))
    return kinds[kind](**arguments)
