"""gpunet.bench.timing: rounds are filled with steps, and figures are medians."""

from __future__ import annotations

import pytest

from gpunet.bench import timing


def test_a_round_is_filled_with_steps() -> None:
    done: list[int] = []
    assert timing.steps_in(done.append, lambda: None, 0.0) == 1
    assert timing.quartiles([1.0]) == (1, 1, 1)
    assert timing.quartiles([4.0, 1.0, 3.0, 2.0, 5.0]) == (2, 3, 4)


def test_a_slow_step_is_a_round_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "round_s", lambda run, steps, wait: 0.002)
    assert timing.steps_in(lambda steps: None, lambda: None, 0.03) == 15
    monkeypatch.setattr(timing, "round_s", lambda run, steps, wait: 1.0)
    assert timing.steps_in(lambda steps: None, lambda: None, 0.03) == 1
