"""Optimizer: parameters in an arena, one row of scalars a step, one fused kernel a part.

A subclass is a file of CUDA with the formula, and what CUDA cannot hold: the defaults, and the
NumPy `reference` of the formula.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from gpunet import counters, notebook
from gpunet.arena import Arena, Room
from gpunet.backend import Array
from gpunet.optim.check import Settings, checked, resolve
from gpunet.optim.declared import ONCE, Declared, Pair
from gpunet.optim.dicts import ByKey
from gpunet.optim.groups import Group, read_groups
from gpunet.optim.kernel import UpdateKernel, norms_of
from gpunet.optim.parts import Part, Segment, adopt
from gpunet.optim.rows import Row
from gpunet.optim.saving import ByParameter, Form, copied, read_state, without_code
from gpunet.optim.scalars import GIVEN, is_steady, names_of, row_at
from gpunet.schedules import Rate

if TYPE_CHECKING:
    from gpunet.optim.declared import Members

__all__ = ["KW_ONLY", "Optimizer", "Pair", "Rate"]  # what an optimizer's file needs

_OF_ARENAS = ("segments", "arenas")  # attributes that a copy makes anew


class Optimizer(Declared):
    """Base of all optimizers.

    Args:
        parameters: `model.parameters()`; or dicts {"params": [...], "lr": ..., ...}, groups with
            settings of their own; or None for `update(params, grads)` on dicts of arrays.
        weight_decay: L2, added to the gradient: weight_decay * param. Biases, gamma and beta are
            left out.
        clip_norm: scale the gradients so that their global 2-norm is at most this (PyTorch's
            min(1, clip_norm / (norm + 1e-6))).
        clip_value: clamp each gradient element to [-clip_value, clip_value] (after clip_norm).
        decay_all: let weight_decay reach biases, gamma and beta too.

    The others are an optimizer's own. Each is an attribute as well: assigning sets it for all
    groups. `t` counts the updates made. Every update is one kernel launch over all parameters of a
    group, two if only some of them are decayed.

    Raises:
        ValueError: a setting outside its range (the message names it), a parameter given twice.
        TypeError: something that is not a Parameter; an unknown setting.
    """

    if TYPE_CHECKING:
        parameters: Members = Members()
    _: KW_ONLY
    weight_decay: float = 0.0
    clip_norm: float | None = None
    clip_value: float | None = None
    decay_all: bool = False

    # What a subclass says

    reference: ClassVar[Callable[..., None]]
    """The formula on NumPy arrays: the header's names in the header's order, param and state
    changed in place."""
    derived: ClassVar[Callable[..., Mapping[str, float]]] = staticmethod(lambda: {})
    """The scalars that are no settings, from those that it names: settings, t = 1, 2, ..., and
    where there are `betas` beta1, beta2 and correction1, correction2 = 1 - beta^t."""
    cuda: ClassVar[Path]
    """The .cu file; by default that of the class's name, in lower case, beside its Python file."""
    kernel: ClassVar[UpdateKernel]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if unknown := set(names_of(cls.derived)) - cls.arguments.keys() - GIVEN:
            raise TypeError(
                f"{cls.__name__}.derived asks for {unknown.pop()!r}, which is no setting"
            )
        if "reference" in vars(cls):
            cls.kernel = UpdateKernel(_cuda_of(cls), cls.reference)

    def __init__(self, *values: Any, **given: Any) -> None:
        arguments = self.named(values, given)
        parameters, name = arguments.pop("parameters"), type(self).__name__
        self.clip_norm, self.clip_value, self.decay_all = (
            checked(once, arguments.pop(once), getattr(Optimizer, once)) for once in ONCE
        )
        self.t = 0
        self.defaults = Settings({k: self.arguments[k].default for k in arguments})
        for setting, value in arguments.items():
            self.defaults[setting] = value  # checked
        self.by_key = ByKey(name, self.defaults)
        groups = [] if parameters is None else read_groups(parameters, self.defaults, name)
        self.groups = [group.settings for group in groups]
        self._members = [group.members for group in groups]
        self.parameters = [p for members in self._members for p in members]
        self._adopt()

    def _adopt(self, room: Room | None = None) -> None:
        groups = [Group(*pair) for pair in zip(self.groups, self._members, strict=True)]
        self.segments: list[Segment] = adopt(groups, self.kernel, room)
        self.arenas: list[Arena] = list(dict.fromkeys(s.arena for s in self.segments))

    def __repr__(self) -> str:
        settings = ", ".join(f"{k}={v!r}" for k, v in self.defaults.items())
        return f"{type(self).__name__}({settings})"

    def _repr_html_(self) -> str:
        """What a notebook shows: the settings of each group."""
        groups = self.groups or [self.defaults]
        rows = [(name, *(repr(group[name]) for group in groups)) for name in self.defaults]
        titles = ("",) if len(groups) == 1 else [f"group {k}" for k in range(len(groups))]
        updates = "1 update" if self.t == 1 else f"{self.t:,} updates"
        return notebook.table(f"{type(self).__name__}, {updates}", ("setting", *titles), rows)

    def current_lr(self) -> float:
        """The number that the next update uses, in the first group; nan without a learning rate."""
        return resolve(self.lr, self.t) if self.has_lr else math.nan

    # The step

    def zero_grad(self) -> None:
        """Every gradient to 0: one fill per arena. RuntimeError as for `step`."""
        self._check_parameters_are_here()
        for arena in self.arenas:
            arena.zero_grad()

    def step(self) -> None:
        """One update from the gradients as they are.

        A parameter with `requires_grad = False` stays as it is, and so does its state. One that
        no backward reached since `zero_grad` has the gradient 0: what an optimizer does at 0
        (momentum, weight decay) happens to it.

        Raises:
            RuntimeError: made without parameters, or these have left (another optimizer has them,
                or the model was moved to another device).
        """
        if not self.segments:
            raise RuntimeError(
                f"{type(self).__name__} has no parameters: make it with model.parameters(), or "
                "call update(params, grads)"
            )
        self._check_parameters_are_here()
        captured = counters.current()
        self._touch()
        if captured is None:
            self._update(self.parts(), self.gradients())
            return
        parts = self.enter(captured)
        self._launch([(part, (part.rows.table, 0)) for part in parts], self.gradients())

    def update(self, params: Mapping[Any, Array], grads: Mapping[Any, Array]) -> None:
        """One update of every array in `params`, in place, from the gradient of the same key: the
        interface of the "from scratch" book. State is kept by key. Arrays with fewer than two axes
        count as biases: weight_decay leaves them out unless decay_all.

        Raises:
            ValueError: keys, shapes or dtypes that differ, or that changed since the last call.
            DeviceError: arrays of two devices.
        """
        self._update(self.by_key.parts(params, grads, self.kernel), list(grads.values()))

    def _update(self, parts: Sequence[Part], gradients: Sequence[Array]) -> None:
        for part in parts:  # every row first: a bad schedule then leaves all as it was
            self.fill_rows(part)
        self._launch([(part, part.rows[self.t + 1]) for part in parts], gradients)
        self.t += 1

    def _launch(self, parts: Sequence[tuple[Part, Row]], gradients: Sequence[Array]) -> None:
        """gradients: all of them, for their norm."""
        norms = {} if self.clip_norm is None else norms_of(gradients)
        for part, numbers in parts:
            self.kernel.update(part, numbers, norms.get(part.dtype))

    def parts(self) -> list[Part]:
        """What an update is made of: a launch each."""
        return [part for s in self.segments for part in s.parts(self.decay_all)]

    def gradients(self) -> list[Array]:
        """Those that the norm is of, where one is taken."""
        if self.clip_norm is None:
            return []
        return [piece for arena in self.arenas for piece in arena.gradients()]

    def fill_rows(self, part: Part, steps: int = 1, shift: int | None = None) -> None:
        """See that the rows of the part's next `steps` updates are there."""
        t, rows, decays = self.t + 1, part.rows, part.decayed or self.decay_all
        given = (part.settings, decays, self.clip_norm, self.clip_value)
        if rows.hold(t, steps, given, shift):
            return
        compute, steady = self._numbers(part)
        rows.fill(t, steps, given, compute, steady=steady, shift=shift)

    def ahead(self, part: Part, steps: int, rates: Sequence[Any]) -> Array:
        """(rates, steps, scalars), float64 on the host: those of the part's next updates, with each
        of `rates` for its lr. Where there is no lr, `rates` is any one thing.
        """
        compute, steady = self._numbers(part, list(rates))
        found = np.empty((len(rates), steps, len(self.kernel.row_names)))
        for k in range(1 if steady else steps):
            for column, value in enumerate(compute(self.t + 1 + k)):
                found[:, k, column] = value
        return np.broadcast_to(found[:, :1], found.shape) if steady else found

    def _numbers(self, part: Part, lr: Any = None) -> tuple[Callable[[int], list[Any]], bool]:
        """What gives the scalars of update t, and whether they are those of every t. lr: to take in
        the place of the part's.
        """
        settings = {**part.settings, "clip_norm": self.clip_norm, "clip_value": self.clip_value}
        if lr is not None and "lr" in settings:
            settings["lr"] = lr
        if not (part.decayed or self.decay_all):
            settings["weight_decay"] = 0.0
        compute = row_at(settings, self.derived, self.kernel, part.rows.dtype)
        return compute, is_steady(settings, self.derived, self.kernel)

    def lost(self) -> bool:
        """True if parameters have left: for another optimizer, or to another device."""
        for arena in self.arenas:  # noqa: SIM110 - a generator would cost as much as all else here
            if arena.stale:
                return True
        return False

    def _touch(self) -> None:
        """Tell the tape that the parameters change."""
        for arena in self.arenas:
            arena.touch()

    def _check_parameters_are_here(self) -> None:
        for arena in self.arenas:
            if arena.stale:
                raise RuntimeError(
                    f"this optimizer lost its parameters: {arena.stale}; make a new one"
                )

    # In a captured step; see gpunet.counters

    def enter(self, captured: counters.Counters, steps: int = 1) -> Sequence[Part]:
        """Take part in a captured batch, or in `steps` that one launch makes: what is to be
        updated, the scalars being there.
        """
        captured.enter(self)
        if not captured.capturing:
            self.prepare(captured, steps)
        return self.parts()

    def prepare(self, captured: counters.Counters, steps: int) -> None:
        """Bring the scalars of the next updates to the device. RuntimeError as for `step`."""
        self._check_parameters_are_here()
        for part in self.parts():
            self.fill_rows(part, steps, captured.now[counters.UPDATE] - (self.t + 1))

    def advance(self, updates: int, calls: int) -> None:
        """Count updates that a captured step made."""
        self.t += updates
        self._touch()

    def dependencies(self) -> Callable[[], Any]:
        """What is fixed when a step is captured: its launches, and whether a norm is taken."""
        return lambda: (self.clip_norm is None, self.parts())

    def places(self) -> None:
        """Nothing: where its arrays lie, `parts` says."""

    # State

    def buffers(self) -> list[Array]:
        """The flat arrays that a step changes: parameters and state of every segment."""
        return [array for s in self.segments for array in s.state.values()]

    def state_dict(self) -> dict[str, Any]:
        """{"optimizer": class name, "t", "settings", "groups": the settings of each, "state":
        {slot: one array per parameter, or None}, "arrays": {key: {slot: array}}}: copies, in the
        order in which the parameters were given; "arrays" is what `update` keeps. Schedules are
        left out of the settings.
        """
        return {
            "optimizer": type(self).__name__,
            "t": self.t,
            "settings": without_code(self._settings()),
            "groups": [without_code(group) for group in self.groups],
            "state": copied(self._state()),
            "arrays": copied(self.by_key.state),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict()`, bit for bit, with its settings; its arrays may live on
        either device. Nothing is changed if anything is wrong.

        Raises:
            ValueError: another optimizer's state, parameters of other shapes or dtypes, settings
                that want other arrays, or damage; the message says what and where.
        """
        own = self._settings(), self.groups, self._state()
        form = Form(type(self).__name__, self.kernel, *own)
        saved = read_state(state, form)
        self._set_state(saved.state)
        for group, settings in zip(self.groups, saved.groups, strict=True):
            group.update(settings)
        vars(self).update({k: v for k, v in saved.settings.items() if k in ONCE})
        self.defaults.update({k: v for k, v in saved.settings.items() if k not in ONCE})
        self.by_key.state = saved.by_key
        self.t = saved.t

    def _settings(self) -> dict[str, Any]:
        return {**self.defaults, **{name: getattr(self, name) for name in ONCE}}

    # Copies and pickles: independent, and around parameters of their own, those of a model that is
    # copied in the same call. The arenas are made anew.

    def __getstate__(self) -> dict[str, Any]:
        """RuntimeError as for `step`."""
        self._check_parameters_are_here()
        kept = {name: value for name, value in vars(self).items() if name not in _OF_ARENAS}
        return kept | {"in arenas": (self._state(), [p.grad for p in self.parameters])}

    def __setstate__(self, kept: dict[str, Any]) -> None:
        state, gradients = kept.pop("in arenas")
        vars(self).update(kept)
        self._adopt()
        self._set_state(state)
        for p, gradient in zip(self.parameters, gradients, strict=True):
            p.grad = gradient

    def __copy__(self) -> Optimizer:
        raise TypeError(
            f"a shallow copy of {type(self).__name__} would share its parameters; use "
            "copy.deepcopy, for a model together with its optimizer copy.deepcopy((model, opt))"
        )

    def move(self, room: Room | None = None) -> None:
        """Lay parameters, gradients and state, as they are, into arrays that `room` gives; None
        takes new memory. RuntimeError as for `step`.
        """
        self._check_parameters_are_here()
        state = copied(self._state())
        self._adopt(room)
        self._set_state(state)

    def _set_state(self, state: ByParameter) -> None:
        for slot, arrays in self._state().items():
            for array, given in zip(arrays, state[slot], strict=True):
                if array is not None:
                    array[...] = given

    def _state(self) -> ByParameter:
        slices = {place: a for s in self.segments for place, a in s.slices().items()}
        names = [slot.name for slot in self.kernel.source.outputs[1:]]
        return {name: [slices.get((id(p), name)) for p in self.parameters] for name in names}


def _cuda_of(kind: type[Optimizer]) -> str | Path:
    """The file with an optimizer's formula; for gpunet's own it lies under kernels/."""
    name = kind.__name__.lower()
    if kind.__module__.startswith("gpunet.optim."):
        return f"optim/{name}"
    own = vars(kind).get("cuda")
    path = Path(own or Path(kind.reference.__code__.co_filename).with_name(f"{name}.cu"))
    if not path.is_file():
        raise FileNotFoundError(f"{kind.__name__} has no file {path}; name it: cuda = Path(...)")
    return path
