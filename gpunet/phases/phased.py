"""Steps in phases, from data that lies on the GPU: what `Resident` does, and the update."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import cached_property
from typing import Any

from gpunet.fused.plan import Plan
from gpunet.fused.resident import Resident
from gpunet.optim.parts import Part
from gpunet.phases import plan, program
from gpunet.phases.launch import Built, Nets, cuts_of, net_of, options_of, places_of
from gpunet.phases.plan import Phases


class Phased:
    """Whole steps, of batches of up to `rows` rows, that the device's counters point at: of one
    network, or of several alike ones at once, each as it would be alone to the last bit.

    Args:
        residents: the steps, their data, and where their losses go: one for each network. Several
            have data and counters in common; order, losses and all settings are each one's own.
        rows: of the largest batch.
        most_blocks: of the persistent kernel; None is as many as the GPU holds at once.

    Attributes:
        reason: why these steps do not run in phases, None if they do.

    The gradients are used as they come and not kept: `p.grad` stays as it was.
    """

    def __init__(
        self, residents: Sequence[Resident], rows: int, most_blocks: int | None = None
    ) -> None:
        self.residents, self.most_blocks = list(residents), most_blocks
        self.resident = self.residents[0]
        self.optimizers = [own.step.optimizer for own in self.residents]
        found = self._read(rows)
        self.reason = found if isinstance(found, str) else None
        self.phases = None if isinstance(found, str) else found
        self._built: dict[Any, Built] = {}

    def _read(self, rows: int) -> Phases | str:
        for own in self.residents:
            if own.fused is None:
                return own.step.reason or "the data is not what a fused step takes"
        if len(set(map(_form, self._plans))) > 1:
            return "the networks are not alike"
        if why_not := self._update_fits():
            return why_not
        if not all(p.requires_grad for own in self._plans for *_, p in own.parameters):
            return "a parameter is frozen"
        x = self.resident.x
        if not x.flags.c_contiguous:
            return "the data is not contiguous"
        if x.dtype.name not in program.C_DATA:
            return f"the data is {x.dtype}"
        return plan.read(self._plans[0], rows)

    def compile(self) -> None:
        """Compile what the steps need, here and not in the first of them."""
        self.built().compile()

    @cached_property
    def is_persistent(self) -> bool:
        """Whether the GPU holds the persistent kernel's blocks all at once."""
        return self.built().steps.blocks > 0

    def built(self) -> Built:
        """The program for the optimizers' arrays as they are now."""
        parts = [optimizer.parts() for optimizer in self.optimizers]
        return self._program(parts, cuts_of(parts))

    def holds(self) -> bool:
        """Whether the next step can run in phases: what was read is still so."""
        return (
            self.phases is not None
            and self._update_fits() is None
            and all(own.step.holds() for own in self.residents)
        )

    def _update_fits(self) -> str | None:
        """What the updates need that phases do not give."""
        optimizers = self.optimizers
        if any(optimizer.clip_norm is not None for optimizer in optimizers):
            return "clipping by the norm needs all gradients before the first update"
        kinds = {(o.kernel, o.kernel.options(group)) for o in optimizers for group in o.groups}
        return "groups of parameters have updates of several kinds" if len(kinds) > 1 else None

    def one(self, rows: int) -> None:
        """The next step, of `rows` rows, by a launch a phase.

        Inside `counters.use(...)`, and only where `holds()`; so is `many`.
        """
        built, nets = self._nets(rows, 1)
        built.one(nets, rows)

    def many(self, rows: int, steps: int) -> None:
        """The next `steps` steps, of `rows` rows each, in one launch."""
        built, nets = self._nets(rows, steps)
        built.many(nets, steps)

    def _nets(self, rows: int, steps: int) -> tuple[Built, Nets]:
        """The program, and what its kernels are told for the next steps."""
        counters = self.resident.counters
        counters.begin_batch()
        for part in (part for own in self._plans for part in own.parts):
            counters.depend_on(part)
        parts = [optimizer.enter(counters, steps) for optimizer in self.optimizers]
        cuts = cuts_of(parts)
        built = self._program(parts, cuts)
        each = []
        for own, found, ours, work in zip(
            self.residents, self._plans, parts, built.work, strict=True
        ):
            step = [own.x, own.order, own.labels, work, own.losses, counters.array]
            step += [rows, found.scale(), found.loss.label_smoothing]
            each.append(net_of(step, ours, cuts, found))
        return built, built.nets(each, rows, counters.capturing)

    def _program(self, parts: Sequence[Sequence[Part]], cuts: Sequence[slice]) -> Built:
        """The program for the parts as they lie, written when it is first needed."""
        phases, own, optimizer = self.phases, self.resident, self.optimizers[0]
        assert phases is not None
        options = options_of(parts[0][0], optimizer.kernel)
        places = places_of(phases.plan, optimizer.arenas[0], cuts)
        acts = tuple(b.act.formula if b.act else None for b in phases.plan.blocks)
        key = (options, acts, tuple(places.values()), len(cuts))
        if key not in self._built:
            update = program.Update(optimizer.kernel, options, places, len(cuts))
            models = len(self.residents)
            made = program.write(phases, update, own.x.dtype, several=models > 1)
            self._built[key] = Built(phases, made, own.xp, models, self.most_blocks)
        return self._built[key]

    @property
    def _plans(self) -> list[Plan]:
        return [own.fused.plan for own in self.residents if own.fused is not None]


def _form(found: Plan) -> Hashable:
    """What several networks must have in common."""
    blocks = [(b.affine.b is None, b.norm is None, b.dropout is None) for b in found.blocks]
    acts = [b.act.formula if b.act else None for b in found.blocks]
    return found.dtype, found.features, found.rescale is None, *found.columns, *blocks, *acts
