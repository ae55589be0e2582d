"""gpunet.bench.blas: a BLAS that is held back is told of, and one that is not is not."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from gpunet import threads
from gpunet.bench import blas


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Nothing set, and a BLAS with Haswell kernels on a SkylakeX."""
    for name in blas.PINS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(threads, "kernels", lambda: ["Haswell"])
    monkeypatch.setattr(blas, "_own", lambda: ["SkylakeX"])
    return monkeypatch


def test_nothing_is_said_where_nothing_is_set(here: Any) -> None:
    assert blas.pinned() == ""


def test_kernels_of_another_processor_are_named_beside_its_own(here: Any) -> None:
    here.setenv("OPENBLAS_CORETYPE", "Haswell")
    said = blas.pinned()
    assert said.startswith("WARNING: OPENBLAS_CORETYPE=Haswell: BLAS runs Haswell kernels, and")
    assert "processor's own are SkylakeX" in said
    assert "env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE" in said


def test_its_own_kernels_may_be_named(here: Any) -> None:
    here.setenv("OPENBLAS_CORETYPE", "Haswell")
    here.setattr(blas, "_own", lambda: ["Haswell"])
    assert blas.pinned() == ""
    here.setenv("OPENBLAS_L2_SIZE", "262144")
    assert "OPENBLAS_L2_SIZE=262144: BLAS runs Haswell kernels. NumPy's" in blas.pinned()


def test_without_a_blas_that_tells_nothing_is_claimed(here: Any) -> None:
    here.setenv("OPENBLAS_CORETYPE", "Haswell")
    here.setattr(threads, "kernels", list)
    assert blas.pinned() == ""


def test_its_own_kernels_are_asked_for_in_a_process_where_nothing_is_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Nonsense")
    told = "import os; print('OPENBLAS_CORETYPE' in os.environ)"
    monkeypatch.setattr(blas, "TELLING", told)
    assert blas._own() == ["False"]
    monkeypatch.setattr(blas, "TELLING", "1 / 0")
    assert blas._own() == []


def test_the_question_is_a_program_that_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-c", blas.TELLING], capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n")[:-1] == threads.kernels()
