"""gpunet.context: one record of who looks on, changed inside `with`, for each thread alone."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet import context
from gpunet.context import changed, current, frozen, no_grad, observe
from gpunet.counters import current as counting


def see(*_: Any) -> None: ...


@pytest.mark.parametrize(
    "parts",
    [{"recording": False}, {"frozen": True}, {"on_layer": see}, {"on_op": see}],
    ids=", ".join,
)
def test_a_part_is_changed_inside_only(parts: dict[str, Any]) -> None:
    assert current() == context.PLAIN
    assert current().plain
    with changed(**parts):
        assert current()._asdict() == context.PLAIN._asdict() | parts
        assert not current().plain
        assert current().watched == ("recording" not in parts and "frozen" not in parts)
    assert current() == context.PLAIN


def test_they_add_up_and_end_with_an_error() -> None:
    with no_grad(), frozen(), observe(see):
        assert current() == (False, True, see, None, None)
    with pytest.raises(ZeroDivisionError), no_grad():
        _ = 1 / 0
    assert current() == context.PLAIN


def test_a_recorded_step_is_as_plain_as_any() -> None:
    counter: Any = object()
    with changed(counters=counter):
        assert counting() is counter
        assert current().plain
    assert counting() is None


def test_another_thread_has_its_own() -> None:
    found = []
    with no_grad():
        thread = threading.Thread(target=lambda: found.append(current()))
        thread.start()
        thread.join()
    assert found == [context.PLAIN]


def test_observe_sees_every_output() -> None:
    model = gn.MLP([2, 3, 1])
    seen: list[gn.Layer] = []
    with observe(lambda layer, y: seen.append(layer)):
        model(np.ones((4, 2)))
    assert seen == [*model, model]
    model(np.ones((4, 2)))
    assert len(seen) == 4
