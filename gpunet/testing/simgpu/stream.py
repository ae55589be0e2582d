"""Streams and events, as a program holds them; what they do with work is in work.py."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, ClassVar

from . import counters, errors, work
from .errors import CUDARuntimeError
from .graph import Graph, make_graph
from .work import StreamState


class _BaseStream:
    """A stream handle; two objects with one handle are equal."""

    ptr: int
    device_id: int
    _state: StreamState

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BaseStream) and self.ptr == other.ptr

    def __hash__(self) -> int:
        return self.ptr

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.ptr} (device {self.device_id})>"

    def __enter__(self) -> _BaseStream:
        _thread.push(self)
        return self

    def __exit__(self, *args: object) -> None:
        _thread.pop()

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.ptr

    def use(self) -> _BaseStream:
        """Make this stream this thread's current one."""
        _thread.replace(self)
        return self

    @property
    def done(self) -> bool:
        """True: work runs at once. In a capture the question itself invalidates it."""
        if self._state.capture is not None:
            self._state.capture.invalid = True
            return False
        return True

    @property
    def is_non_blocking(self) -> bool:
        return self._state.non_blocking

    @property
    def priority(self) -> int:
        return self._state.priority

    def synchronize(self) -> None:
        """Wait until all work on this stream is done."""
        work.synchronize(self._state)

    def add_callback(self, callback: Callable[[_BaseStream, int, Any], None], arg: Any) -> None:
        """Call `callback(stream, 0, arg)` after the work so far; refused in a capture."""
        if self._state.capture is not None:
            raise work.invalidated(errors.CAPTURE_UNSUPPORTED, self._state.capture)
        callback(self, 0, arg)

    def launch_host_func(self, callback: Callable[[Any], None], arg: Any) -> None:
        """Call `callback(arg)` after the work so far; in a capture, at every replay."""
        work.submit(self._state, "host", "host function", lambda: callback(arg))

    def record(self, event: Event | None = None) -> Event:
        """Record `event`, or a new one, on this stream."""
        event = Event() if event is None else event
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        """Let later work on this stream wait for `event`; joins the event's capture, if any."""
        own = self._state.capture
        if event._captured is None:
            if own is not None and event._is_recorded:
                raise work.invalidated(errors.CAPTURE_ISOLATION, own)
            return
        capture, source, amount = event._captured
        if source.capture is not capture:
            raise CUDARuntimeError(errors.CAPTURED_EVENT)  # that capture has ended
        if own is None:
            capture.add(self._state)
        elif own is not capture:
            raise work.invalidated(errors.CAPTURE_MERGE, own, capture)
        if self._state is not source:
            capture.joined[source] = max(capture.joined[source], amount)

    def begin_capture(self, mode: int | None = None) -> None:
        """Record the work put on this stream from now on, instead of doing it."""
        if self._state is work.NULL:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        work.begin_capture(self._state)

    def end_capture(self) -> Graph:
        """Stop recording and return the `Graph`; raises CUDARuntimeError after a failure."""
        return make_graph(work.end_capture(self._state))

    def is_capturing(self) -> bool:
        return work.is_capturing(self._state)


class Stream(_BaseStream):
    """A new stream, the null stream (`null=True`) or the thread's default one (`ptds=True`)."""

    null: ClassVar[Stream]
    ptds: ClassVar[Stream]

    def __init__(
        self,
        null: bool = False,
        non_blocking: bool = False,
        ptds: bool = False,
        priority: int | None = None,
    ) -> None:
        if null or ptds:
            self._state, self.device_id = (work.NULL if null else work.PER_THREAD), -1
        else:
            self._state, self.device_id = work.new_state(non_blocking, priority or 0), 0
        self.ptr = self._state.ptr

    @classmethod
    def from_external(cls, obj: Any) -> Stream:
        """A stream for another library's object that has `__cuda_stream__`."""
        try:
            _, ptr = obj.__cuda_stream__()
        except AttributeError as error:
            raise TypeError(
                f"Object of type {type(obj).__name__} does not implement "
                "the CUDA stream protocol (__cuda_stream__ method)"
            ) from error
        stream = cls.__new__(cls)
        stream._state, stream.ptr, stream.device_id = work.state_of_handle(ptr), ptr, -1
        return stream


class ExternalStream(_BaseStream):
    """A stream for a handle that other code owns."""

    def __init__(self, ptr: int, device_id: int = -1) -> None:
        self._state, self.ptr, self.device_id = work.state_of_handle(ptr), ptr, device_id


Stream.null = Stream(null=True)
Stream.ptds = Stream(ptds=True)


class _Current(threading.local):
    """This thread's current stream, and those that its `with` blocks will return to."""

    def __init__(self) -> None:
        self.stream: _BaseStream = Stream.null
        self.stack: list[_BaseStream] = [Stream.null]

    def push(self, stream: _BaseStream) -> None:
        self.stack.append(stream)
        self.replace(stream)

    def pop(self) -> None:
        self.stack.pop()
        self.replace(self.stack[-1])

    def replace(self, stream: _BaseStream) -> None:
        self.stream = stream
        work.make_current(stream._state)


_thread = _Current()


def get_current_stream(device_id: int = -1) -> _BaseStream:
    """This thread's current stream; the null stream unless another was made current."""
    return _thread.stream


# ---------------------------------------------------------------------------------------------
# Events


class Event:
    """A point in a stream's work: to wait for, or to measure time between two of them."""

    def __init__(
        self, block: bool = False, disable_timing: bool = False, interprocess: bool = False
    ) -> None:
        if interprocess and not disable_timing:
            raise ValueError("Timing must be disabled for interprocess events")
        self.ptr = work.new_handle()
        self._timed = not disable_timing
        self._time: float | None = None
        self._is_recorded = False
        self._captured: tuple[work.Capture, StreamState, int] | None = None

    @property
    def done(self) -> bool:
        self._refuse_captured()
        return True

    def record(self, stream: _BaseStream | None = None) -> None:
        """Mark this point on `stream`, by default the current one."""
        state = work.state_of(stream)
        capture = state.capture
        self._is_recorded = True
        self._captured = None if capture is None else (capture, state, capture.work[state])
        self._time = time.perf_counter() if capture is None else None

    def synchronize(self) -> None:
        """Wait for the work before this point."""
        self._refuse_captured()
        counters.add("synchronisations")

    def _refuse_captured(self) -> None:
        if self._captured is not None:
            raise work.invalidated(errors.CAPTURED_EVENT, self._captured[0])


def get_elapsed_time(start_event: Event, end_event: Event) -> float:
    """Milliseconds between two recorded events."""
    if start_event._captured or end_event._captured:
        raise CUDARuntimeError(errors.CAPTURED_EVENT)
    times = start_event._time, end_event._time
    if not (start_event._timed and end_event._timed) or times[0] is None or times[1] is None:
        raise CUDARuntimeError(errors.INVALID_RESOURCE_HANDLE)
    return 1e3 * (times[1] - times[0])
