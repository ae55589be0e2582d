"""Optimizer: parameters in an arena, one row of scalars a step, one fused kernel a segment.

A subclass holds what CUDA cannot: its defaults, `scalars(t, ...)` as a pure function, the initial
state, and the NumPy `reference` of its kernel.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial, reduce
from typing import Any, ClassVar

import numpy as np

from gpunet import clock
from gpunet.arena import Arena, check_parameters
from gpunet.backend import Array, array_module, common_module
from gpunet.kernel import Kernel, UpdateKernel
from gpunet.optim import saving
from gpunet.optim.check import Settings, hyperparameter, number
from gpunet.optim.dicts import check_dicts
from gpunet.optim.segment import Hyper, Part, Segment, State
from gpunet.optim.table import ScalarTable
from gpunet.parameter import Parameter
from gpunet.source import Parameter as Slot

norm = Kernel("optim/norm", lambda x: np.linalg.norm(x.astype(np.float64, copy=False)))


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
    steady: ClassVar[bool] = False
    """True if t is not used: then one row of scalars serves until a setting changes."""
    has_lr: ClassVar[bool] = True
    """False for an optimizer without a learning rate (COCOB)."""

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
        self.segments: list[Segment] = []
        self._tables: dict[tuple[bool, Any, Any], ScalarTable] = {}
        self._zeros: dict[Any, Array] = {}
        self.loose: dict[Any, State] = {}
        self.parameters: list[Parameter] = []
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
        if not self.has_lr:
            raise AttributeError(f"{type(self).__name__} has no learning rate")

    def current_lr(self) -> float:
        """The number that the next update uses, in the first group; nan without a learning rate."""
        if not self.has_lr:
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
        self.parameters = [p for _, members in groups for p in members]
        for dtype in dict.fromkeys(p.dtype for p in self.parameters):
            lists = [
                [p for p in members if p.dtype == dtype and p.decay is decayed]
                for _, members in groups
                for decayed in (True, False)
            ]
            arena = Arena(lists)
            places = iter(arena.ranges)
            segments = [Segment(arena, g, next(places), next(places)) for g in self.groups]
            self.arenas.append(arena)
            self.segments += [s for s in segments if len(s.whole.grad)]
            self._add_state(arena)

    def _add_state(self, arena: Arena) -> None:
        segments = [s for s in self.segments if s.arena is arena]
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
        if not self.segments:
            raise RuntimeError(
                f"{type(self).__name__} has no parameters: make it with model.parameters(), or "
                "call update(params, grads)"
            )
        self._check_parameters_are_here()
        recorded = clock.recorded()
        if recorded is not None:
            recorded.follow(self)
            if not recorded.capturing:
                self.prepare(recorded, 1)
        launches = [  # every row first: a bad schedule then leaves all parameters as they were
            (s.arena, part, part.ring.array if recorded else self._row(s.group, part))
            for s in self.segments
            for part in s.launches(self.decay_all)
        ]
        norms = self._norms([a.grad for a in self.arenas])
        for arena, part, row in launches:
            norm = norms[arena.dtype]
            cut = part.blocks() if arena.xp is np else None
            self.kernel.update(arena.xp, part.grad, row, norm, part.state, cut)
        if recorded is None:
            self.t += 1

    # In a captured step; see gpunet.clock

    def prepare(self, recorded: clock.Clock, steps: int) -> None:
        """Bring the scalars of the next updates to the device. RuntimeError as for `step`, or if
        settings were changed that decide how many launches an update has.
        """
        self._check_parameters_are_here()
        at = recorded.now[clock.UPDATE]
        for s in self.segments:
            for part in s.launches(self.decay_all):
                hyper = self._of_part(s.group, part.decayed)
                settings = (dict(hyper), self.clip_norm, self.clip_value)
                compute = partial(self._scalar_row, hyper=hyper, dtype=s.arena.dtype)
                part.ring.prepare(at, self.t + 1, steps, settings, compute)

    def advance(self, updates: int, calls: int) -> None:
        """Count updates that a captured step made."""
        self.t += updates

    def structure(self) -> Callable[[], Any]:
        """What is fixed when a step is captured: its launches, and whether a norm is taken."""
        return lambda: (
            self.clip_norm is None,
            [part for s in self.segments for part in s.launches(self.decay_all)],
        )

    def lost(self) -> bool:
        """True if parameters have left: for another optimizer, or to another device."""
        return any(arena.stale for arena in self.arenas)

    def _check_parameters_are_here(self) -> None:
        for arena in self.arenas:
            if arena.stale:
                raise RuntimeError(
                    f"this optimizer lost its parameters: {arena.stale}; make a new one"
                )

    def _norms(self, gradients: list[Array]) -> dict[Any, Array]:
        """By dtype, the global norm as a device array of shape (1,); 0 if nothing clips by it."""
        if self.clip_norm is None:
            return {g.dtype: self._zero(g) for g in gradients}
        xp = array_module(gradients[0])
        total = reduce(xp.hypot, [norm(g.reshape(-1)) for g in gradients])
        dtypes = {g.dtype for g in gradients}
        return {d: xp.reshape(total, 1).astype(d, copy=False) for d in dtypes}

    def _zero(self, like: Array) -> Array:
        key = type(like), like.dtype
        if key not in self._zeros:
            self._zeros[key] = array_module(like).zeros(1, like.dtype)
        return self._zeros[key]

    def _of_part(self, group: Hyper, decayed: bool) -> Hyper:
        """The settings that hold for a part: weight_decay reaches the decayed ones only."""
        if decayed or self.decay_all or not group["weight_decay"]:
            return group
        return {**group, "weight_decay": 0.0}

    def _row(self, group: Hyper, part: Part) -> Any:
        hyper = self._of_part(group, part.decayed)
        return self._row_of(part.rows, hyper, part.rows.dtype)

    def _row_of(self, table: ScalarTable, hyper: Hyper, dtype: Any) -> Any:
        settings = (hyper, self.clip_norm, self.clip_value)
        steady = self.steady and not callable(hyper.get("lr"))
        return table.row(self.t + 1, settings, lambda t: self._scalar_row(t, hyper, dtype), steady)

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
        return [array for s in self.segments for array in s.whole.state.values()]

    def update(self, params: Mapping[Any, Array], grads: Mapping[Any, Array]) -> None:
        """One update of every array in `params`, in place, from the gradient of the same key: the
        interface of the "from scratch" book. State is kept by key. Arrays with fewer than two axes
        count as biases: weight_decay leaves them out unless decay_all.

        Raises:
            ValueError: keys, shapes or dtypes that differ, or that changed since the last call.
            DeviceError: arrays of two devices.
        """
        check_dicts(params, grads, self.loose, type(self).__name__)
        norms = self._norms([grads[key] for key in params]) if params else {}
        rows = {
            key: self._loose_row(p.ndim > 1, array_module(p), p.dtype) for key, p in params.items()
        }
        for key, param in params.items():
            if key not in self.loose:
                self.loose[key] = self._loose_state(param)
            state = self.loose[key] | {"param": param}
            xp = array_module(param)
            self.kernel.update(xp, grads[key], rows[key], norms[param.dtype], state)
        self.t += 1

    def _loose_row(self, decayed: bool, xp: Any, dtype: Any) -> Any:
        key = (decayed, xp, dtype)
        if key not in self._tables:
            self._tables[key] = ScalarTable(xp, dtype)
        return self._row_of(self._tables[key], self._of_part(self.defaults, decayed), dtype)

    def _loose_state(self, param: Array) -> State:
        state: State = {}
        for slot in self.kernel.slots:
            if self._has(slot, self.defaults):
                state[slot.name] = array_module(param).zeros_like(param)
                state[slot.name][...] = self.initial(slot.name, param, self.defaults)
        return state

    def state_dict(self) -> dict[str, Any]:
        """{"optimizer": class name, "t", "groups": settings, "state": {slot: one array per
        parameter, or None}, "arrays": {key: {slot: array}}}: copies, in the order in which the
        parameters were given; "arrays" is what `update` keeps. Schedules are left out of the
        settings.
        """
        return saving.state_of(self)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict()`, bit for bit; its arrays may live on either device. Nothing
        is changed if anything is wrong.

        Raises:
            ValueError: another optimizer's state, or parameters of other shapes.
        """
        saving.load_into(self, state)


def resolve(lr: Any, t: int) -> float:
    """The learning rate after t updates; ValueError if a schedule gives a bad one."""
    if not callable(lr):
        return number("lr", lr)
    try:
        return number("lr", lr(t))
    except ValueError as error:
        raise ValueError(f"the schedule's {error} at t = {t}") from None
