"""Work for the device: it runs at once, or the stream that it is put on captures it.

So every stream is always idle; only the rules that CUDA sets for streams are kept. The stream
objects that a program holds are in stream.py.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from . import counters, errors
from .errors import CUDARuntimeError

STREAM_LEGACY = 1
STREAM_PER_THREAD = 2
_COUNTER_OF_KIND = {
    "kernel": "launches",
    "memset": "memsets",
    "memcpy": "d2d_copies",
    "h2d": "h2d_copies",
    "d2h": "d2h_copies",
}

_lock = threading.Lock()
_handles = itertools.count(0x1000, 0x10)
_captures: set[Capture] = set()  # those under way, of all threads


@dataclass(frozen=True)
class Node:
    """One recorded piece of work: what it is, and a function without arguments that does it."""

    kind: str
    name: str
    run: Callable[[], None]


class Capture:
    """A capture under way: the work recorded, and the streams that take part."""

    def __init__(self, origin: StreamState) -> None:
        self.origin = origin
        self.nodes: list[Node] = []
        self.invalid = False
        # For each stream: how much work it has given, and how much of it others waited for.
        self.work = {origin: 0}
        self.joined = {origin: 0}
        with _lock:
            _captures.add(self)

    def add(self, state: StreamState) -> None:
        """Let a stream take part; it must be joined even if it gives no work."""
        state.capture = self
        self.work[state], self.joined[state] = 0, -1

    def unjoined(self) -> bool:
        return any(
            self.joined[state] != work for state, work in self.work.items() if state != self.origin
        )

    def close(self) -> None:
        for state in self.work:
            state.capture = None
        with _lock:
            _captures.discard(self)


class StreamState:
    """What CUDA knows about one stream handle."""

    def __init__(self, ptr: int, non_blocking: bool = False, priority: int = 0) -> None:
        self.ptr = ptr
        self.non_blocking = non_blocking
        self.priority = priority
        self.capture: Capture | None = None


class Stream(Protocol):
    """As much of a stream object as is asked for here."""

    _state: StreamState


NULL = StreamState(0)
PER_THREAD = StreamState(STREAM_PER_THREAD)
_states: weakref.WeakValueDictionary[int, StreamState] = weakref.WeakValueDictionary(
    {0: NULL, STREAM_LEGACY: NULL, STREAM_PER_THREAD: PER_THREAD}
)


class _Current(threading.local):
    state = NULL


_thread = _Current()


def new_handle() -> int:
    """A number that no other stream or event has."""
    with _lock:
        return next(_handles)


def new_state(non_blocking: bool, priority: int) -> StreamState:
    state = StreamState(new_handle(), non_blocking, priority)
    with _lock:
        _states[state.ptr] = state
    return state


def state_of_handle(ptr: int) -> StreamState:
    """The stream with this handle, or CUDA's error for a handle that is none."""
    with _lock:
        state = _states.get(ptr)
    if state is None:
        raise CUDARuntimeError(errors.INVALID_RESOURCE_HANDLE)
    return state


def current() -> StreamState:
    """This thread's current stream; the null stream unless another was made current."""
    return _thread.state


def make_current(state: StreamState) -> None:
    _thread.state = state


def state_of(stream: Stream | None) -> StreamState:
    """The state of `stream`, or of this thread's current stream."""
    return _thread.state if stream is None else stream._state


# ---------------------------------------------------------------------------------------------
# Doing and recording


def submit(state: StreamState, kind: str, name: str, run: Callable[[], None]) -> None:
    """Do a piece of device work on the stream: now, or in a capture at every replay.

    `kind` decides what is counted: "kernel", "memset", "memcpy" (within the device), "h2d", "d2h",
    or "host" for nothing. `run` takes no arguments: whatever it uses is frozen in it.
    """
    if state.capture is not None:
        record(state, Node(kind, name, run))
        return
    check_legacy_stream(state)
    counter = _COUNTER_OF_KIND.get(kind)
    if counter is not None:
        counters.add(counter)
    run()


def record(state: StreamState, node: Node) -> None:
    """Add work to the stream's capture; raises CUDARuntimeError once that is invalidated."""
    capture = state.capture
    assert capture is not None
    if capture.invalid:
        raise CUDARuntimeError(errors.CAPTURE_INVALIDATED)
    capture.nodes.append(node)
    capture.work[state] += 1


def synchronize(state: StreamState) -> None:
    """Wait for the stream; in a capture, invalidate it and raise as CUDA does."""
    if state.capture is not None:
        raise invalidated(errors.CAPTURE_UNSUPPORTED, state.capture)
    check_legacy_stream(state)
    counters.add("synchronisations")


def synchronize_device() -> None:
    """Wait for all streams; CUDA forbids that, and invalidates, while any of them captures."""
    with _lock:
        captures = list(_captures)
    if captures:
        raise invalidated(errors.CAPTURE_UNSUPPORTED, *captures)
    counters.add("synchronisations")


def check_legacy_stream(state: StreamState) -> None:
    """Work on the null stream would wait for a blocking stream, which a capture forbids."""
    if not _captures or state is not NULL:
        return
    with _lock:
        blocking = [capture for capture in _captures if not capture.origin.non_blocking]
    if blocking:
        raise invalidated(errors.CAPTURE_IMPLICIT, *blocking)


# ---------------------------------------------------------------------------------------------
# Captures


def begin_capture(state: StreamState) -> None:
    if state.capture is not None:
        raise CUDARuntimeError(errors.ILLEGAL_STATE)
    state.capture = Capture(state)


def end_capture(state: StreamState) -> list[Node]:
    """Stop recording; the work recorded, or CUDARuntimeError after a failure."""
    capture = state.capture
    if capture is None:
        raise CUDARuntimeError(errors.ILLEGAL_STATE)
    if capture.origin is not state:
        raise invalidated(errors.CAPTURE_UNMATCHED, capture)
    capture.close()
    if capture.invalid:
        raise CUDARuntimeError(errors.CAPTURE_INVALIDATED)
    if capture.unjoined():
        raise CUDARuntimeError(errors.CAPTURE_UNJOINED)
    return capture.nodes


def invalidated(status: int, *captures: Capture) -> CUDARuntimeError:
    """The error to raise for what spoils these captures."""
    for capture in captures:
        capture.invalid = True
    return CUDARuntimeError(status)


def is_capturing(state: StreamState | None = None) -> bool:
    """Whether the stream (the current one by default) captures; RuntimeError once invalidated."""
    capture = (state or _thread.state).capture
    if capture is not None and capture.invalid:
        raise RuntimeError(
            "the stream was capturing, but an error has invalidated the capture sequence"
        )
    return capture is not None


def refuse_in_capture(what: str, state: StreamState | None = None) -> None:
    """Refuse a copy to or from the host (`what`: "H2D transfers", ...) in CuPy's words."""
    if is_capturing(state):
        raise RuntimeError(f"the current stream is capturing, so {what} are disallowed")


def refuse_library_in_capture(library: str) -> None:
    """Refuse a call of cuBLAS and its like in CuPy's words."""
    if is_capturing():
        raise NotImplementedError(
            f"calling {library} API during stream capture is currently unsupported"
        )
