"""Proof 2: every optimizer follows the stored paths of PyTorch and optax (tests/golden)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.backend import to_host

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
CASES = json.loads((GOLDEN / "optimizers.json").read_text("utf-8"))["cases"]


@pytest.fixture(scope="module")
def paths() -> dict[str, Any]:
    with np.load(GOLDEN / "optimizers.npz") as file:
        return dict(file)


def settings_of(case: dict[str, Any], paths: dict[str, Any]) -> dict[str, Any]:
    settings = case["kwargs"] | {f"clip_{how}": limit for how, limit in case["clip"].items()}
    if case["lr_schedule"]:
        settings["lr"] = lambda t: paths["lr_schedule"][t]
    return settings


def error_of(path: Any, expected: Any) -> float:
    """The largest error relative to each element's largest magnitude so far."""
    scale = np.maximum.accumulate(np.abs(expected), axis=0)
    return float((np.abs(path - expected) / scale).max())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_sixty_steps_equal_the_stored_path(case: Any, paths: Any, device: str) -> None:
    p = gn.Parameter(gn.to_device(paths["initial"], device))
    optimizer = gn.OPTIMIZERS[case["optimizer"].lower()]([p], **settings_of(case, paths))
    path = []
    for gradient in paths["gradients"]:
        p.grad = gradient
        optimizer.step()
        path.append(to_host(p.data).copy())
    assert error_of(np.array(path), paths[case["name"]]) < 1e-12


def test_there_is_a_case_for_every_optimizer() -> None:
    assert {case["optimizer"].lower() for case in CASES} == set(gn.OPTIMIZERS)


def test_the_comparison_sees_a_small_error(paths: Any) -> None:
    expected = paths["adam_defaults"]
    wrong = expected.copy()
    wrong[-1, 3] *= 1 + 1e-11
    assert error_of(wrong, expected) > 1e-12
