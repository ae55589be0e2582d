"""What holds while ops and layers run, in this thread and this task, and who looks on.

One record, changed for the time of a `with`:

    with no_grad(), observe(see):
        y = model(x)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

LayerWatcher = Callable[[Any, Any], None]  # (layer, its output)
OpWatcher = Callable[[Any, list[Any], Any], None]  # (node, arrays, output)


class Context(NamedTuple):
    """The record.

    recording: ops write themselves on the tape. frozen: layers leave their own state as it is.
    on_layer, on_op: called after every layer, and after every op that was recorded.
    counters: the `gpunet.counters.Counters` of the captured step that runs, or is captured.
    """

    recording: bool = True
    frozen: bool = False
    on_layer: LayerWatcher | None = None
    on_op: OpWatcher | None = None
    counters: Any = None

    @property
    def watched(self) -> bool:
        """Somebody wants to see layers or ops, so they must run one by one, and in Python."""
        return self.on_layer is not None or self.on_op is not None

    @property
    def plain(self) -> bool:
        """Nobody looks on, and nothing is held back: a step may run in any way that is as good."""
        return self is PLAIN or (self.recording and not self.frozen and not self.watched)


PLAIN = Context()
_current: ContextVar[Context] = ContextVar("gpunet_context", default=PLAIN)
current: Callable[[], Context] = _current.get


@contextmanager
def changed(**parts: Any) -> Iterator[None]:
    """Inside it these parts of the record are other ones."""
    token = _current.set(_current.get()._replace(**parts))
    try:
        yield
    finally:
        _current.reset(token)


def no_grad() -> AbstractContextManager[None]:
    """Inside it nothing is recorded (per thread and per task): for evaluation."""
    return changed(recording=False)


def frozen() -> AbstractContextManager[None]:
    """Inside it no layer changes its own state: BatchNorm keeps its running statistics, Dropout
    draws the mask of its next training call again and again. For gradient checks.
    """
    return changed(frozen=True)


def observe(watcher: LayerWatcher) -> AbstractContextManager[None]:
    """Inside it `watcher(layer, output)` sees the output of every layer that is called."""
    return changed(on_layer=watcher)
