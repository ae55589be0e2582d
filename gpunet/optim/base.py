"""Optimizer: parameters in an arena, one row of scalars a step, one fused kernel a segment.

A subclass holds what CUDA cannot: its defaults, `scalars(t, ...)` as a pure function, the initial
state, and the NumPy `reference` of its kernel.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from typing import Any, ClassVar

import numpy as np

from gpunet.arena import Arena, check_parameters
from gpunet.backend import Array, array_module, common_module, device_of, to_device
from gpunet.kernel import Kernel, UpdateKernel
from gpunet.optim.check import Settings, hyperparameter, number
from gpunet.optim.table import ScalarTable
from gpunet.parameter import Parameter
from gpunet.source import Parameter as Slot

Hyper = dict[str, Any]
State = dict[str, Array]

norm = Kernel("optim/norm", lambda x: np.linalg.norm(x.astype(np.float64, copy=False)))


class Part:
    """A slice of an arena, updated by one launch: its gradients, parameters and state arrays."""

    def __init__(self, arena: Arena, place: slice, decayed: bool) -> None:
        self.place = place
        self.decayed = decayed
        self.grad = arena.grad[place]
        self.state: State = {"param": arena.data[place]}


class Segment:
    """One group's parameters of one dtype: the decayed ones, then the others, in one arena."""

    def __init__(self, arena: Arena, group: Hyper, decayed: slice, others: slice) -> None:
        self.arena = arena
        self.group = group
        self.whole = Part(arena, slice(decayed.start, others.stop), decayed=False)
        halves = [Part(arena, decayed, decayed=True), Part(arena, others, decayed=False)]
        self.halves = [part for part in halves if len(part.grad)]

    def launches(self, decay_all: bool) -> list[Part]:
        """One part where all elements are treated alike, else two."""
        if decay_all or not self.group["weight_decay"]:
            return [self.whole]
        return self.halves

    def add_state(self, slot: str, buffer: Array, start: Array | float) -> None:
        """`buffer` is as long as the arena; this segment's part of it starts from `start`."""
        buffer[self.whole.place] = start
        for part in (self.whole, *self.halves):
            part.state[slot] = buffer[part.place]


class Optimizer:
    """Base of all optimizers.

    Args:
        parameters: `model.parameters()`; or dicts {"params": [...], "lr": ..., ...}, groups with
            settings of their own; or None for `update(params, grads)` on dicts of arrays.
        clip_norm: scale the gradients so that their global 2-norm is at most this (PyTorch's
            min(1, clip_norm / (norm + 1e-6))).
        clip_value: clamp each gradient element to [-clip_value, clip_value] (after clip_norm).
        decay_all: let weight_decay reach biases, gamma and beta too.
        hyper: the optimizer's own settings.

    Every update is one kernel launch over all parameters of a group, two if only some of them are
    decayed. `t` counts the updates made.

    Raises:
        ValueError: a setting outside its range (the message names it), a parameter given twice.
        TypeError: something that is not a Parameter; an unknown setting.
    """

    kernel: ClassVar[UpdateKernel]
    scalars: ClassVar[Callable[..., dict[str, float]]]
    """A pure function (t, **settings): the kernel's scalars at update t = 1, 2, ... in float64."""

    def __init__(
        self,
        parameters: Iterable[Any] | None,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        decay_all: bool = False,
        **hyper: Any,
    ) -> None:
        self.t = 0
        self._refuse_unknown(hyper)
        self.defaults = Settings({k: hyperparameter(k, v) for k, v in hyper.items()})
        self.clip_norm = hyperparameter("clip_norm", clip_norm)
        self.clip_value = hyperparameter("clip_value", clip_value)
        self.decay_all = hyperparameter("decay_all", decay_all)
        self.groups: list[Settings] = []
        self.arenas: list[Arena] = []
        self._segments: list[Segment] = []
        self._tables: dict[tuple[int, bool, Any, Any], ScalarTable] = {}
        self._zeros: dict[Any, Array] = {}
        self._loose: dict[Any, State] = {}
        self._order: list[Parameter] = []
        if parameters is not None:
            self._adopt(self._read_groups(parameters))

    # What a subclass says

    def options(self, hyper: Hyper) -> frozenset[str]:
        """The kernel's compile-time options that these settings switch on."""
        return frozenset()

    def initial(self, slot: str, param: Array, hyper: Hyper) -> Array | float:
        """What a state array starts from: a number, or an array like `param`."""
        return 0.0

    # Settings

    @property
    def lr(self) -> Any:
        """The first group's learning rate (or schedule); assigning sets every group's.

        AttributeError for an optimizer without one (COCOB).
        """
        self._need_lr()
        return self.groups[0]["lr"] if self.groups else self.defaults["lr"]

    @lr.setter
    def lr(self, value: Any) -> None:
        self._need_lr()
        for group in (self.defaults, *self.groups):
            group["lr"] = value

    def _need_lr(self) -> None:
        if "lr" not in self.defaults:
            raise AttributeError(f"{type(self).__name__} has no learning rate")

    def current_lr(self) -> float:
        """The number that the next update uses, in the first group; nan without a learning rate."""
        if "lr" not in self.defaults:
            return math.nan
        return resolve(self.lr, self.t)

    def __repr__(self) -> str:
        settings = ", ".join(f"{k}={v!r}" for k, v in self.defaults.items())
        return f"{type(self).__name__}({settings})"

    @classmethod
    def _refuse_unknown(cls, given: Mapping[str, Any]) -> None:
        """TypeError for a setting that no constructor in the class's line names."""
        known = {name for c in cls.__mro__[:-1] for name in inspect.signature(c).parameters}
        for name in given:
            if name not in known:
                own = [n for n in given if n in known]
                raise TypeError(f"{cls.__name__} has no setting {name!r}; it has {', '.join(own)}")

    # Parameters into arenas

    def _read_groups(self, parameters: Iterable[Any]) -> list[tuple[Settings, list[Parameter]]]:
        if not isinstance(parameters, Iterable) or isinstance(parameters, (str, Mapping)):
            raise TypeError(
                f"{type(self).__name__} got {type(parameters).__name__} for its parameters; give "
                "model.parameters(), or settings by name: lr=0.1"
            )
        items = list(parameters)
        groups = items if all(isinstance(g, Mapping) for g in items) else [{"params": items}]
        found = [(self._group(g), list(g["params"])) for g in groups]
        members = check_parameters([p for _, members in found for p in members])
        if not members:
            raise ValueError(f"{type(self).__name__} got no parameters")
        common_module([p.data for p in members], type(self).__name__)
        return found

    def _group(self, given: Mapping[str, Any]) -> Settings:
        if "params" not in given:
            raise ValueError(f'a parameter group needs "params"; it has {", ".join(given)}')
        own = {k: v for k, v in given.items() if k != "params"}
        for name in own:
            if name not in self.defaults:
                raise TypeError(f"{type(self).__name__} has no setting {name!r}")
        group = Settings(self.defaults | {k: hyperparameter(k, v) for k, v in own.items()})
        if "lr" in group:
            resolve(group["lr"], 0)  # a bad schedule is told now, before anything is changed
        return group

    def _adopt(self, groups: list[tuple[Settings, list[Parameter]]]) -> None:
        """One arena a dtype; in it each group's decayed parameters, then its others."""
        self.groups = [group for group, _ in groups]
        self._order = [p for _, members in groups for p in members]
        for dtype in dict.fromkeys(p.dtype for p in self._order):
            lists = [
                [p for p in members if p.dtype == dtype and p.decay is decayed]
                for _, members in groups
                for decayed in (True, False)
            ]
            arena = Arena(lists)
            places = iter(arena.ranges)
            segments = [Segment(arena, g, next(places), next(places)) for g in self.groups]
            self.arenas.append(arena)
            self._segments += [s for s in segments if len(s.whole.grad)]
            self._add_state(arena)

    def _add_state(self, arena: Arena) -> None:
        segments = [s for s in self._segments if s.arena is arena]
        for slot in self.kernel.slots:
            users = [s for s in segments if self._has(slot, s.group)]
            buffer = arena.like() if users else None
            for s in users:
                param = s.whole.state["param"]
                s.add_state(slot.name, buffer, self.initial(slot.name, param, s.group))

    def _has(self, slot: Slot, hyper: Hyper) -> bool:
        return slot.option is None or slot.option in self.options(hyper)

    # The step

    def zero_grad(self) -> None:
        """Every gradient to 0: one fill per arena. RuntimeError as for `step`."""
        self._check_parameters_are_here()
        for arena in self.arenas:
            arena.zero_grad()

    def step(self) -> None:
        """One update from the gradients as they are.

        Raises:
            RuntimeError: made without parameters, or these have left (another optimizer has them,
                or the model was moved to another device).
        """
        if not self._segments:
            raise RuntimeError(
                f"{type(self).__name__} has no parameters: make it with model.parameters(), or "
                "call update(params, grads)"
            )
        self._check_parameters_are_here()
        norms = self._norms([a.grad for a in self.arenas])
        launches = [  # every row first: a bad schedule then leaves all parameters as they were
            (s.arena, part, self._row(s.group, part.decayed, s.arena.xp, s.arena.dtype))
            for s in self._segments
            for part in s.launches(self.decay_all)
        ]
        for arena, part, row in launches:
            self.kernel.update(arena.xp, part.grad, row, norms[arena.dtype], part.state)
        self.t += 1

    def _check_parameters_are_here(self) -> None:
        for arena in self.arenas:
            if arena.stale:
                raise RuntimeError(
                    f"this optimizer lost its parameters: {arena.stale}; make a new one"
                )

    def _norms(self, gradients: list[Array]) -> dict[Any, Array]:
        """By dtype, the global norm as a device array of shape (1,); 0 if nothing clips by it."""
        xp = array_module(gradients[0])
        dtypes = {g.dtype for g in gradients}
        if self.clip_norm is None:
            return {d: self._zero(xp, d) for d in dtypes}
        total = reduce(xp.hypot, [norm(g.reshape(-1)) for g in gradients])
        return {d: xp.reshape(total, 1).astype(d, copy=False) for d in dtypes}

    def _zero(self, xp: Any, dtype: Any) -> Array:
        if (xp, dtype) not in self._zeros:
            self._zeros[xp, dtype] = xp.zeros(1, dtype)
        return self._zeros[xp, dtype]

    def _row(self, group: Hyper, decayed: bool, xp: Any, dtype: Any) -> Any:
        key = (id(group), decayed, xp, dtype)
        table = self._tables.get(key)
        if table is None:
            table = self._tables[key] = ScalarTable(xp, dtype)
        hyper = group if decayed or self.decay_all else {**group, "weight_decay": 0.0}
        settings = (*hyper.values(), self.clip_norm, self.clip_value)
        return table.row(self.t + 1, settings, lambda t: self._scalar_row(t, hyper, dtype))

    def _scalar_row(self, t: int, hyper: Hyper, dtype: Any) -> list[float]:
        """The two clipping limits, then the kernel's scalars, as the header orders them."""
        settings = dict(hyper)
        if "lr" in settings:
            settings["lr"] = resolve(settings["lr"], t - 1)
        if "betas" in settings:  # 1 - beta^t must be that of the beta the kernel gets
            settings["betas"] = [number("betas", dtype.type(b)) for b in settings["betas"]]
        values = self.scalars(t, **settings)
        limits = [math.inf if c is None else c for c in (self.clip_norm, self.clip_value)]
        return limits + [values[name] for name in self.kernel.source.scalars]

    def buffers(self) -> list[Array]:
        """The flat arrays that a step changes: parameters and state of every segment."""
        return [array for s in self._segments for array in s.whole.state.values()]

    # Dicts of arrays

    def update(self, params: Mapping[Any, Array], grads: Mapping[Any, Array]) -> None:
        """One update of every array in `params`, in place, from the gradient of the same key: the
        interface of the "from scratch" book. State is kept by key. Arrays with fewer than two axes
        count as biases: weight_decay leaves them out unless decay_all.

        Raises:
            ValueError: keys, shapes or dtypes that differ, or that changed since the last call.
            DeviceError: arrays of two devices.
        """
        self._check_dicts(params, grads)
        norms = self._norms([grads[key] for key in params]) if params else {}
        rows = {
            key: self._row(self.defaults, p.ndim > 1, array_module(p), p.dtype)
            for key, p in params.items()
        }
        for key, param in params.items():
            if key not in self._loose:
                self._loose[key] = self._loose_state(param)
            state = self._loose[key] | {"param": param}
            xp = array_module(param)
            self.kernel.update(xp, grads[key], rows[key], norms[param.dtype], state)
        self.t += 1

    def _loose_state(self, param: Array) -> State:
        state: State = {}
        for slot in self.kernel.slots:
            if self._has(slot, self.defaults):
                state[slot.name] = array_module(param).zeros_like(param)
                state[slot.name][...] = self.initial(slot.name, param, self.defaults)
        return state

    def _check_dicts(self, params: Mapping[Any, Array], grads: Mapping[Any, Array]) -> None:
        if params.keys() != grads.keys():
            differ = sorted(map(str, params.keys() ^ grads.keys()))
            raise ValueError(f"params and grads have different keys: {', '.join(differ)}")
        for key, param in params.items():
            grad = grads[key]
            if array_module(param) is None or param.dtype not in (np.float32, np.float64):
                raise ValueError(f"params[{key!r}] must be a float32 or float64 array")
            if getattr(grad, "shape", None) != param.shape or grad.dtype != param.dtype:
                raise ValueError(
                    f"grads[{key!r}] must be {param.dtype} of shape {param.shape}, got "
                    f"{getattr(grad, 'dtype', type(grad).__name__)} of shape "
                    f"{getattr(grad, 'shape', '?')}"
                )
            known = next(iter(self._loose.get(key, {}).values()), param)
            if known.shape != param.shape or known.dtype != param.dtype:
                raise ValueError(
                    f"params[{key!r}] was {known.dtype} of shape {known.shape} at the last update, "
                    f"now {param.dtype} of shape {param.shape}"
                )
        known_arrays = [a for key in params for a in self._loose.get(key, {}).values()]
        common_module([*params.values(), *grads.values(), *known_arrays], type(self).__name__)

    # Saving

    def state_dict(self) -> dict[str, Any]:
        """{"optimizer": class name, "t", "groups": settings, "state": {slot: one array per
        parameter, or None}, "arrays": {key: {slot: array}}}: copies, in the order in which the
        parameters were given; "arrays" is what `update` keeps. Schedules are left out of the
        settings.
        """
        groups = [{k: v for k, v in g.items() if not callable(v)} for g in self.groups]
        views = self._views
        state: dict[str, list[Array | None]] = {}
        for slot in self.kernel.slots:
            own = [views.get((id(p), slot.name)) for p in self._order]
            state[slot.name] = [None if v is None else v.copy() for v in own]
        arrays = {key: {s: a.copy() for s, a in kept.items()} for key, kept in self._loose.items()}
        name = type(self).__name__
        return {"optimizer": name, "t": self.t, "groups": groups, "state": state, "arrays": arrays}

    @property
    def _views(self) -> dict[tuple[int, str], Array]:
        """Each parameter's part of each state array, by (id, slot)."""
        views: dict[tuple[int, str], Array] = {}
        for s in self._segments:
            for p, place in s.arena.places_in(s.whole.place):
                for slot, buffer in s.whole.state.items():
                    views[id(p), slot] = buffer[place].reshape(p.shape)
        return views

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict()`, bit for bit; its arrays may live on either device. Nothing
        is changed if anything is wrong.

        Raises:
            ValueError: another optimizer's state, or parameters of other shapes.
        """
        t, settings = self._checked_head(state)
        slots = state["state"]
        views = self._views
        pairs = [
            (own, self._checked_array(f"{slot} of parameter {k}", own, array))
            for slot, arrays in slots.items()
            for k, (own, array) in enumerate(
                zip([views.get((id(p), slot)) for p in self._order], arrays, strict=True)
            )
        ]
        loose = {
            key: {slot: array.copy() for slot, array in kept.items()}
            for key, kept in state.get("arrays", {}).items()
        }
        for own, ready in pairs:
            if own is not None:
                own[...] = ready
        for group, given in zip(self.groups, settings, strict=True):
            group.update(given)
        self._loose = loose
        self.t = t

    def _checked_head(self, state: Mapping[str, Any]) -> tuple[int, list[Hyper]]:
        """t and the groups' settings; ValueError if the state is not of such an optimizer."""
        name, slots = type(self).__name__, [slot.name for slot in self.kernel.slots]
        if state.get("optimizer") != name or set(state.get("state", ())) != set(slots):
            raise ValueError(f"this is no state of {name}, but of {state.get('optimizer')!r}")
        groups, t = state.get("groups", ()), state.get("t")
        if len(groups) != len(self.groups):
            raise ValueError(f"the state has {len(groups)} groups, {name} has {len(self.groups)}")
        if not isinstance(t, (int, np.integer)) or t < 0:
            raise ValueError(f"t, the number of updates, must be an integer from 0, got {t!r}")
        for slot, arrays in state["state"].items():
            if len(arrays) != len(self._order):
                raise ValueError(f"{slot}: {len(arrays)} arrays for {len(self._order)} parameters")
        for given in groups:
            if unknown := set(given) - set(self.defaults):
                raise ValueError(f"{name} has no setting {', '.join(sorted(unknown))}")
        return int(t), [{k: hyperparameter(k, v) for k, v in g.items()} for g in groups]

    @staticmethod
    def _checked_array(what: str, own: Array | None, given: Any) -> Array | None:
        """`given` on `own`'s device and of its dtype; ValueError if it cannot take its place."""
        if (own is None) != (given is None):
            raise ValueError(f"{what}: the settings differ from the state")
        if own is None:
            return None
        try:
            ready = to_device(given, device_of(own)).astype(own.dtype, copy=False)
        except (TypeError, ValueError):
            raise ValueError(f"{what} must be an array, got {type(given).__name__}") from None
        if ready.shape != own.shape:
            raise ValueError(f"{what} has shape {own.shape}, the state has {ready.shape}")
        return ready


def resolve(lr: Any, t: int) -> float:
    """The learning rate after t updates; ValueError if a schedule gives a bad one."""
    if not callable(lr):
        return number("lr", lr)
    try:
        return number("lr", lr(t))
    except ValueError as error:
        raise ValueError(f"the schedule's {error} at t = {t}") from None
