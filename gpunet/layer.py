"""Layer: parameters, state and mode around a function of Tensors.

A layer of your own is a class with Parameters as attributes and `call(self, x)`:

    class Scale(gn.Layer):
        def __init__(self, features):
            self.gain = gn.Parameter(np.ones(features, np.float32))

        def call(self, x):
            return x * self.gain
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from math import inf
from operator import attrgetter
from typing import Any, NamedTuple

from gpunet import context, notebook
from gpunet.backend import Array, address, device_of, module_for, to_device
from gpunet.inside import CONTAINERS, DICTS, PLAIN, hidden, inside
from gpunet.parameter import Parameter
from gpunet.tape import numbers
from gpunet.tensor import Tensor, as_array


class Loaded(NamedTuple):
    """What `load_state_dict` did not load: names that the state lacks, and names of no use."""

    missing: list[str]
    unexpected: list[str]


class Layer:
    """A function with parameters. Subclasses write `call`; users call the layer.

    Attributes found by name, in the order they were set: Parameters and other Layers, also in
    lists, tuples and dicts and those inside them (elsewhere they are refused at the first call);
    and the arrays named in `buffers` (state that is saved but not trained), of which
    `variances` must be finite and from 0. Numbers named in `counts` change from call to call, those
    in `drawn` were drawn when the layer was made; all others are settings.
    """

    # _searched, for what is hidden: no setting, and nothing that a copy has.
    __slots__ = ("__dict__", "__weakref__", "_searched")
    training: bool = True
    buffers: tuple[str, ...] = ()
    variances: tuple[str, ...] = ()
    counts: tuple[str, ...] = ()
    drawn: tuple[str, ...] = ()
    _by_hand: tuple[list[Tensor], Tensor] | None = None
    _numbered: tuple[str, ...] = ()  # attributes whose layers have numbers for names

    def call(self, *inputs: Any) -> Tensor:
        """The layer's function on Tensors."""
        raise NotImplementedError(f"{type(self).__name__} has no call(self, x)")

    def __call__(self, *inputs: Any) -> Tensor:
        """Apply to Tensors or arrays; recorded on the tape."""
        now = context.current()
        if not getattr(self, "_searched", False):
            self._search()
        if now.counters is not None:
            now.counters.depend_on(self)
        first = next(numbers)
        y = self.call(*(x if isinstance(x, Tensor) else Tensor(x) for x in inputs))
        node = getattr(y, "node", None)
        if node is not None and node.number > first:  # not an input handed on
            node.calls = (type(self), first, node.calls)
        if now.on_layer is not None:
            now.on_layer(self, y)
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

    def _search(self) -> None:
        """TypeError for layers and parameters in a place where `children` does not look: training,
        saving and eval() would pass them by.
        """
        known = {id(self), *(id(k) for _, k in self.children())}
        known |= {id(p) for _, p in self.named_parameters()}
        for name, value in vars(self).items():
            found = hidden(value, (Layer, Parameter), known)
            if found is not None:
                raise TypeError(
                    f"{type(self).__name__}.{name} holds a {type(found).__name__} in a "
                    f"{type(value).__name__}, where training and saving do not find it; keep "
                    "layers and parameters in attributes, lists, tuples or dicts"
                )
        self._searched = True

    def children(self) -> Iterator[tuple[str, Layer]]:
        """The layers directly inside this one, with their names."""
        for name, value in vars(self).items():
            if type(value) in PLAIN:
                continue
            if isinstance(value, Layer):
                yield name, value
            elif isinstance(value, CONTAINERS) and name not in self._numbered:
                yield from inside(name, value, Layer)

    def named_layers(self, prefix: str = "") -> Iterator[tuple[str, Layer]]:
        """Every layer below this one, with its dotted name, outside in."""
        for name, child in self.children():
            yield prefix + name, child
            yield from child.named_layers(f"{prefix}{name}.")

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Parameter]]:
        """Every parameter with its dotted name; one that is shared comes more than once."""
        for name, value in vars(self).items():
            if type(value) in PLAIN:
                continue
            if isinstance(value, Parameter):
                yield prefix + name, value
            elif isinstance(value, CONTAINERS) and name not in self._numbered:
                yield from inside(prefix + name, value, Parameter)
        for name, child in self.children():
            yield from child.named_parameters(f"{prefix}{name}.")

    def named_buffers(self, prefix: str = "") -> Iterator[tuple[str, Array]]:
        """Every array of `buffers` with its dotted name."""
        for name in self.buffers:
            yield prefix + name, getattr(self, name)
        for name, child in self.children():
            yield from child.named_buffers(f"{prefix}{name}.")

    def parameters(self) -> list[Parameter]:
        """Every parameter once, in the order the layers were written down."""
        return list({id(p): p for _, p in self.named_parameters()}.values())

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters; in an arena they become 0."""
        for p in self.parameters():
            p.grad = None

    def dependencies(self) -> Callable[[], Any]:
        """A function that gives what a captured step depends on: mode, plain settings, which
        layers and parameters there are, and where the buffers lie. It runs before every launch.
        """
        names, boxes = ["training"], []
        for name, value in vars(self).items():
            if name in self.buffers:
                on_cpu = device_of(value) == "cpu"
                names.append(f"{name}.{'__array_interface__' if on_cpu else 'data.ptr'}")
            elif name in self.counts:
                continue
            elif value is None or isinstance(value, SEEN):
                names.append(name)
            flat = isinstance(value, tuple) and all(isinstance(v, Layer) for v in value)
            if isinstance(value, CONTAINERS) and not flat and _ids_inside(value):
                boxes.append(name)
        look = partial(attrgetter(*names), self)
        if not boxes:
            return look
        return lambda: (look(), [_ids_inside(getattr(self, name, None)) for name in boxes])

    def places(self) -> list[tuple[bool, int]]:
        """Whether each parameter is trained, and where it lies on a GPU: a captured step depends on
        that, too. It runs where `Placing` says that it may have changed.
        """
        return [(p.requires_grad, address(p.data)) for p in self.parameters()]

    def draw(self) -> None:
        """Start anew, in place, with initial values drawn now: those that the same lines of code
        would draw. A layer that is not gpunet's own leaves its own parameters as they are.
        """
        for _, child in self.children():
            child.draw()

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
        with self.same_modes():
            self.eval()
            yield

    @contextmanager
    def same_modes(self) -> Iterator[None]:
        """Afterwards every layer's mode is what it is now."""
        layers = [self, *(child for _, child in self.named_layers())]
        modes = [layer.training for layer in layers]
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
        for _, p in self.named_parameters():
            return device_of(p.data)
        for _, buffer in self.named_buffers():
            return device_of(buffer)
        return "cpu"

    # Saving

    def state_dict(self) -> dict[str, Array]:
        """Copies of parameters and buffers by dotted name, on their device."""
        return {name: array.copy() for name, array in self._arrays().items()}

    def _arrays(self) -> dict[str, Array]:
        """Parameters and buffers by dotted name. ValueError where two have one name."""
        named = [(n, p.data) for n, p in self.named_parameters()] + list(self.named_buffers())
        found = dict(named)
        if len(found) < len(named):
            twice = next(name for k, (name, _) in enumerate(named) if name in dict(named[:k]))
            raise ValueError(f"two arrays of the model are called {twice!r}; rename a key")
        return found

    def load_state_dict(self, state: Mapping[str, Array], strict: bool = True) -> Loaded:
        """Copy `state` into parameters and buffers. Nothing is changed if anything is wrong.

        Returns the names that the state lacks, and those that it has beside them: none unless
        strict=False, which warns if nothing at all was loaded.

        Raises:
            ValueError: names missing or unexpected (unless strict=False), another shape, no
                numbers, or a variance that is none.
        """
        own = self._arrays()
        state = {name: as_array(array) for name, array in state.items()}
        variances = set(self._variances())
        rest = Loaded([n for n in own if n not in state], [n for n in state if n not in own])
        problems = []
        if strict:
            problems += [f"missing: {name}" for name in rest.missing]
            problems += [f"unexpected: {name}" for name in rest.unexpected]
        for name in own.keys() & state.keys():
            given, expected = tuple(state[name].shape), tuple(own[name].shape)
            if given != expected:
                problems.append(f"{name} has shape {expected}, state has {given}")
            if state[name].dtype.kind not in "fiub":
                problems.append(f"{name} holds {state[name].dtype}, not numbers")
            elif name in variances and not ((state[name] >= 0) & (state[name] < inf)).all():
                problems.append(f"{name} is a variance, and holds a negative, infinite or nan one")
        if problems:
            raise ValueError("state does not fit the model: " + "; ".join(sorted(problems)))
        for name in own.keys() & state.keys():
            own[name][...] = to_device(state[name], device_of(own[name]))
        for p in self.parameters():
            p.touch()
        if own and len(rest.missing) == len(own):
            warnings.warn(
                f"load_state_dict: no name of the state is one of the model's, such as "
                f"{rest.missing[0]!r}; nothing was loaded",
                UserWarning,
                stacklevel=2,
            )
        return rest

    def numbers(self) -> dict[str, dict[str, Any]]:
        """What a layer's `counts` and `drawn` are, by its dotted name ("" is this layer)."""
        layers = {"": self} | dict(self.named_layers())
        return {
            name: {number: getattr(layer, number) for number in (*layer.counts, *layer.drawn)}
            for name, layer in layers.items()
            if layer.counts or layer.drawn
        }

    def load_numbers(self, numbers: Mapping[str, Mapping[str, Any]]) -> None:
        """Set them as `numbers()` gave them. ValueError, and nothing is changed, for others."""
        own, layers = self.numbers(), {"": self} | dict(self.named_layers())
        if {k: set(v) for k, v in numbers.items()} != {k: set(v) for k, v in own.items()}:
            raise ValueError(f"the model's layers count {own}, the state has {numbers}")
        for name, given in numbers.items():
            for number, value in given.items():
                if not isinstance(value, (int, float)) or not 0 <= value < 2**64:
                    raise ValueError(f"{number} of layer {name} must be a number, got {value!r}")
        for name, given in numbers.items():
            vars(layers[name]).update(given)

    def _variances(self) -> Iterator[str]:
        """The dotted names of arrays that must hold variances."""
        for name, layer in (("", self), *((f"{name}.", k) for name, k in self.named_layers())):
            yield from (name + variance for variance in layer.variances)

    # Its description

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

    def _repr_html_(self) -> str:
        """What a notebook shows: a row for each layer that holds no other."""
        leaves = [(n, k) for n, k in self.named_layers() if not any(k.children())] or [("", self)]
        sizes = {id(p): p.data.size for p in self.parameters()}
        rows = []
        for name, layer in leaves:
            own = [sizes.pop(id(p), 0) for p in layer.parameters()]  # a shared one counts once
            kind = type(layer).__name__
            rows.append((name, kind, repr(layer)[len(kind) + 1 : -1], sum(own)))
        total = sum(p.data.size for p in self.parameters())
        caption = f"{type(self).__name__}, {total:,} parameters, {self.device}"
        return notebook.table(caption, ("", "layer", "settings", "parameters"), rows)


SEEN = (Layer, Parameter, tuple, bool, int, float, str)  # another one tells of a change


def _ids_inside(box: Any) -> list[int]:
    """Of the layers and parameters in a container, and in those inside it."""
    found: list[int] = []
    for value in box.values() if isinstance(box, DICTS) else box or ():
        if isinstance(value, (Layer, Parameter)):
            found.append(id(value))
        elif isinstance(value, CONTAINERS):
            found += _ids_inside(value)
    return found
