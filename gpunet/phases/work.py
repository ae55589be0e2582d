"""Where the arrays that lie between phases are, in the one array that the phases share."""

from __future__ import annotations

from gpunet.phases.plan import WIDTH, Phases, Stage


class Work:
    """Places in elements. All are [column][row], and begin where four of them may be read at once.

    size: of the whole. row_losses: of each row. of: of each stage, by the names that
    kernels/phases/net.cuh gives them. A name that a stage has no use for has a place, and no room.
    """

    def __init__(self, phases: Phases) -> None:
        self.size = 0
        self._stride = phases.stride
        self.row_losses = self._take(phases.stride)
        partial = self._take(max(partial_sums(k, phases.stride) for k in phases.stages))
        self.of: list[dict[str, int]] = []
        for stage in phases.stages:
            outputs, norm = stage.outputs, stage.block.norm is not None
            self.of.append(
                {
                    "PARTIAL": partial,  # added up before the next product begins
                    "X": self.of[-1]["Y"] if self.of else 0,
                    "Y": self._columns(outputs),
                    "DZ": self._columns(outputs),
                    "SEEN": self._columns(outputs if stage.keeps_sum else 0),
                    "NORMAL": self._columns(outputs if norm else 0),
                    "INV": self._take(outputs if norm else 0),
                    "MASK": self._take(stage.groups),
                }
            )

    def _columns(self, count: int) -> int:
        """So many, and up to three that stay 0: kernels/phases/columns.cuh takes four at once."""
        return self._take(-(-count // 4) * 4 * self._stride)

    def _take(self, count: int) -> int:
        place = self.size
        self.size += -(-count // 4) * 4
        return place


def partial_sums(stage: Stage, stride: int) -> int:
    """Elements of the partial sums of a product."""
    return stage.chunks * stage.tiles * WIDTH * stride if stage.partial else 0
