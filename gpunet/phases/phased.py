"""Steps in phases, from data that lies on the GPU: what `Resident` does, and the update."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from gpunet.fused.plan import Plan
from gpunet.fused.resident import Resident
from gpunet.optim.parts import Part
from gpunet.phases import plan, program
from gpunet.phases.launch import Built, arguments_of, options_of, places_of
from gpunet.phases.plan import Phases


class Phased:
    """Whole steps, of batches of up to `rows` rows, that the device's counters point at.

    Args:
        resident: the step, its data, and where its losses go.
        rows: of the largest batch.
        most_blocks: of the persistent kernel; None is as many as the GPU holds at once.

    Attributes:
        reason: why these steps do not run in phases, None if they do.

    The gradients are used as they come and not kept: `p.grad` stays as it was.
    """

    def __init__(self, resident: Resident, rows: int, most_blocks: int | None = None) -> None:
        self.resident, self.most_blocks = resident, most_blocks
        self.optimizer = resident.step.optimizer
        found = self._read(rows)
        self.reason = found if isinstance(found, str) else None
        self.phases = None if isinstance(found, str) else found
        self._built: dict[Any, Built] = {}

    def _read(self, rows: int) -> Phases | str:
        own, fused = self.resident, self.resident.fused
        if fused is None:
            return own.step.reason or "the data is not what a fused step takes"
        if why_not := self._update_fits():
            return why_not
        if not all(p.requires_grad for *_, p in fused.plan.parameters):
            return "a parameter is frozen"
        if not own.x.flags.c_contiguous:
            return "the data is not contiguous"
        if own.x.dtype.name not in program.C_DATA:
            return f"the data is {own.x.dtype}"
        return plan.read(fused.plan, rows)

    def compile(self) -> None:
        """Compile what the steps need, here and not in the first of them."""
        self.built().compile()

    @cached_property
    def is_persistent(self) -> bool:
        """Whether the GPU holds the persistent kernel's blocks all at once."""
        return self.built().grid() > 0

    def built(self) -> Built:
        """The program for the optimizer's arrays as they are now."""
        return self._program(self.optimizer.parts())

    def holds(self) -> bool:
        """Whether the next step can run in phases: what was read is still so."""
        return (
            self.phases is not None and self._update_fits() is None and self.resident.step.holds()
        )

    def _update_fits(self) -> str | None:
        """What the update needs that phases do not give."""
        optimizer = self.optimizer
        if optimizer.clip_norm is not None:
            return "clipping by the norm needs all gradients before the first update"
        options = {optimizer.kernel.options(group) for group in optimizer.groups}
        return "groups of parameters have updates of several kinds" if len(options) > 1 else None

    def one(self, rows: int) -> None:
        """The next step, of `rows` rows, by a launch a phase.

        Inside `counters.use(...)`, and only where `holds()`; so is `many`.
        """
        built, arguments = self._arguments(rows, 1)
        built.one(arguments, rows)

    def many(self, rows: int, steps: int) -> None:
        """The next `steps` steps, of `rows` rows each, in one launch."""
        built, arguments = self._arguments(rows, steps)
        built.many(arguments, steps)

    def _arguments(self, rows: int, steps: int) -> tuple[Built, tuple[Any, ...]]:
        """The program, and what its kernels are given for the next steps."""
        own = self.resident
        own.counters.begin_batch()
        for part in self._plan.parts:
            own.counters.depend_on(part)
        parts = self.optimizer.enter(own.counters, steps)
        built = self._program(parts)
        values = [own.x, own.order, own.labels, built.work, own.losses, own.counters.array]
        values += [rows, self._plan.scale(), self._plan.loss.label_smoothing]
        return built, built.arguments(values + arguments_of(parts, self._plan))

    def _program(self, parts: Sequence[Part]) -> Built:
        """The program for the parts as they lie, written when it is first needed."""
        phases, own, kernel = self.phases, self.resident, self.optimizer.kernel
        assert phases is not None
        options, places = options_of(parts[0], kernel), places_of(self._plan, parts)
        acts = tuple(b.act.formula if b.act else None for b in self._plan.blocks)
        key = (options, acts, tuple(places.values()), len(parts))
        if key not in self._built:
            update = program.Update(kernel, options, places, len(parts))
            made = program.write(phases, update, own.x.dtype)
            self._built[key] = Built(phases, made, own.xp, self.most_blocks)
        return self._built[key]

    @property
    def _plan(self) -> Plan:
        assert self.phases is not None
        return self.phases.plan
