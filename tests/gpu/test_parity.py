"""Proof 3: every kernel on the GPU (here the simulated one) equals its NumPy reference."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet import functional
from gpunet.activations import ACTIVATE, ACTIVATE_BACKWARD, NUMBERS, TABLE
from gpunet.kernel import Kernel
from gpunet.optim.kernel import MODELS, VECTORS, UpdateKernel
from gpunet.source import kernel_names
from gpunet.testing import compile_gate, nvrtc, simgpu
from gpunet.testing.compile_gate import choices, in_own_process

from . import parity
from .parity import (
    CASES,
    CLIPS,
    DTYPES,
    FUSED_CASES,
    UPDATE_BOUND,
    Case,
    FusedCase,
    contiguous,
    strided,
)

LARGE = (100_003,)  # many blocks; in long double more would take long
SHAPES: list[Any] = [
    pytest.param((1,), contiguous, id="1"),
    pytest.param((31,), contiguous, id="31"),
    pytest.param((33,), contiguous, id="33"),
    pytest.param(LARGE, contiguous, id="large"),
    pytest.param((33, 31), strided, id="strided"),
    pytest.param((2, 5, 7), strided, id="strided models"),
    pytest.param((0,), contiguous, id="empty"),
    pytest.param((3, 0), strided, id="empty rows"),
]
OPTIMIZERS = list(gn.OPTIMIZERS)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "layout"), SHAPES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_call(case: Case, shape: Any, layout: Any, dtype: str, cp: Any) -> None:
    assert case.error(cp, dtype, shape, layout) <= case.bound


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(2, 1), (31, 33), (1024, 40), (1025, 5), (3000, 33)])
@pytest.mark.parametrize("case", FUSED_CASES, ids=lambda case: case.name)
def test_a_fused_launch(case: FusedCase, shape: tuple[int, int], dtype: str, cp: Any) -> None:
    assert case.error(cp, dtype, shape) <= case.bound


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_seven_updates_with_every_setting(name: str, dtype: str, cp: Any) -> None:
    errors = {
        f"{settings} {clip}": parity.update_error(
            parity.optimizer_of(name, settings | clip, 33), cp, dtype, (33,), contiguous
        )
        for settings in parity.settings_of(name)
        for clip in CLIPS
    }
    assert {k: e for k, e in errors.items() if not e <= UPDATE_BOUND} == {}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "layout"), SHAPES)
@pytest.mark.parametrize("name", ["sgd", "adam", "cocob"])  # shapes are CuPy's affair, not theirs
def test_an_update(name: str, shape: Any, layout: Any, dtype: str, cp: Any) -> None:
    settings = parity.COMMON[1] | CLIPS[3]
    optimizer = parity.optimizer_of(name, settings, int(np.prod(shape)))
    assert parity.update_error(optimizer, cp, dtype, shape, layout, steps=2) <= UPDATE_BOUND


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", TABLE)
def test_special_values(name: str, dtype: str, cp: Any) -> None:
    """Forward, and back from them where the gradient is made from the input."""
    big, alpha = np.finfo(dtype).max, 0.5
    special = np.array([np.nan, np.inf, -np.inf, 0, -0.0, big, -big, 1e-30, -100], dtype)
    seen = special if TABLE[name].source == "input" else TABLE[name].value(special, alpha)
    at = np.maximum(np.where(np.isfinite(special), abs(special), 1), 1)
    for kernel, arrays in ((ACTIVATE, (special,)), (ACTIVATE_BACKWARD, (np.ones_like(seen), seen))):
        inputs = (*arrays, NUMBERS[name], alpha)
        fixed = Case(kernel, lambda draw, i=inputs: i, 12, scale=lambda *_: at)
        with np.errstate(over="ignore", invalid="ignore"):
            assert fixed.error(cp, dtype, (), contiguous) <= fixed.bound


# The list is complete


def test_every_kernel_is_compiled_run_on_sim_and_in_the_parity_list() -> None:
    files = kernel_names()
    assert sorted(parity.names()) == files
    with simgpu_or_skip() as cupy:
        compared = Counter(name for name, _, e, bound in parity.each_once(cupy) if e <= bound)
    assert sorted(compared) == files
    _, output, report = in_own_process()
    if "NVRTC" in report["missing"]:
        refuse = pytest.fail if os.environ.get("GPUNET_REQUIRE_NVRTC") else pytest.skip
        refuse(f"not compiled: {report['missing']['NVRTC']}")
    compiled = {b["kernel"] for b in report["builds"] if not b["measured"]["error"]}
    assert sorted(compiled) == files, output
    assert len(parity.names()) == len(compared) == len(compiled) == len(files)


def simgpu_or_skip() -> Any:
    usable, reason = simgpu.available()
    if not usable:
        refuse = pytest.fail if os.environ.get("GPUNET_REQUIRE_SIM") else pytest.skip
        refuse(f"no simulated GPU: {reason}")
    return simgpu.activate()


def test_each_comparison_launches_the_kernel() -> None:
    with simgpu_or_skip() as cupy:
        for case in CASES:
            with simgpu.count() as counters:
                case.error(cupy, "float32", (33,), contiguous)
            assert counters.launches == 1, case.name
        for fused_case in FUSED_CASES:
            with simgpu.count() as counters:
                fused_case.error(cupy, "float32", (31, 5))
            assert counters.launches == 1, fused_case.name
        for name in OPTIMIZERS:
            with simgpu.count() as counters:
                optimizer = parity.optimizer_of(name, {}, 33)
                parity.update_error(optimizer, cupy, "float32", (33,), contiguous)
            assert counters.launches == parity.STEPS, name


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_settings_reach_every_compile_time_option(name: str) -> None:
    kind = gn.OPTIMIZERS[name]
    made = [kind(**settings) for settings in parity.settings_of(name)]
    found = {o.kernel.options(o.defaults) for o in made}
    single = [options for options in choices(kind.kernel) if MODELS not in options]
    assert found == {options - {VECTORS} for options in single}


def test_the_few_are_of_each_kind(sim: Any) -> None:
    few = {name for name, _, error, bound in parity.a_few_once(sim) if error <= bound}
    assert few == {c.name for c in FUSED_CASES} | {f"optim/{name}" for name in parity.FEW}


# The checks can fail


def test_a_wrong_formula_is_seen(xp: Any) -> None:
    for right in (c for c in CASES if c.kernel is ACTIVATE_BACKWARD):

        def wrong(*inputs: Any) -> Any:
            return ACTIVATE_BACKWARD.reference(*inputs) * (1 + 1e-5)

        for dtype in DTYPES:
            case = replace(right, truth=wrong)
            assert case.error(xp, dtype, (33,), contiguous) > right.bound


def test_a_dropout_mask_off_by_one_element_is_seen(cp: Any) -> None:
    right = next(c for c in CASES if c.name == "nn/dropout")

    def shifted(x: Any, *rest: Any) -> Any:
        y = functional.DROPOUT.reference(x, *rest)
        return np.where(np.roll(y != 0, 1), x, 0) * rest[1]

    case = replace(right, truth=shifted)
    assert case.error(cp, "float32", (33,), contiguous) > right.bound


def test_a_wrong_fused_result_is_seen(cp: Any) -> None:
    right = {case.name: case.error(cp, "float32", (31, 33)) for case in FUSED_CASES}
    assert all(right[case.name] <= case.bound for case in FUSED_CASES)
    for case in FUSED_CASES[4:]:

        def wrong(
            ops: Any, a: Any, work: Any, run: Any = case.run, outputs: Any = case.outputs
        ) -> None:
            run(ops, a, work)
            if a["z"].dtype == np.float64:  # the truth
                a[outputs[0]][-1] *= 1 + 1e-3

        wide = FusedCase(case.kernel, wrong, case.outputs, case.bound)
        assert wide.error(cp, "float32", (31, 33)) > case.bound, case.name


def test_a_wrong_update_is_seen(cp: Any) -> None:
    def wrong(grad: Any, *scalars: Any, **state: Any) -> None:
        gn.Momentum.kernel.reference(grad, *scalars, **state)
        state["velocity"] *= 1 + 1e-5

    class Wrong(gn.Momentum):
        kernel = UpdateKernel("optim/momentum", wrong)

    for dtype in DTYPES:
        assert parity.update_error(Wrong(), cp, dtype, (33,), contiguous) > UPDATE_BOUND


def test_ulps() -> None:
    one = np.array([1.0], np.float32)
    assert parity.ulps(one, np.array([1 + 2**-23])) == 1.0
    assert parity.ulps(one, np.array([1 + 2**-23]), scale=np.array([2.0])) == 0.5
    assert parity.ulps(np.array([0.0], np.float32), np.array([1e-39])) == 0  # flushed
    assert parity.ulps(np.array([2e-39], np.float32), np.array([1e-39])) > 100
    assert parity.ulps(np.array([np.nan, np.inf]), np.array([np.nan, np.inf])) == 0
    with pytest.raises(ValueError, match="one of the two"):
        parity.ulps(np.array([np.nan]), np.array([1.0]))
    with pytest.raises(ValueError, match="one of the two"):
        parity.ulps(np.array([1.0]), np.array([np.inf]))
    with pytest.raises(ValueError, match="shape"):
        parity.ulps(np.ones(2), np.ones((2, 1)))


def test_strided_arrays_are_the_same_numbers_far_apart(xp: Any) -> None:
    a = np.arange(6.0).reshape(2, 3)
    placed = strided(xp, a)
    assert np.array_equal(gn.backend.to_host(placed), a)
    assert not placed.flags.c_contiguous
    assert placed.strides == (8, -32)


def test_main_counts_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [("a", "float32", 0.5, 1), ("b", "float32", float("nan"), 1), ("b", "float64", 2, 1)]
    monkeypatch.setattr(parity, "each_once", lambda xp: iter(found))
    allocators: list[Any] = []
    cuda = SimpleNamespace(set_allocator=allocators.append)
    monkeypatch.setattr(gn.backend, "cupy", lambda: SimpleNamespace(cuda=cuda))
    assert parity.main([]) == 1
    assert allocators == [None]
    assert "2 kernels, 2 wrong" in capsys.readouterr().out
    monkeypatch.setattr(parity, "a_few_once", lambda xp: iter(found[:1]))
    assert parity.main(["--few"]) == 0


@pytest.mark.gpu
def test_what_the_gate_compiles_is_what_cupy_runs() -> None:
    cupy = gn.backend.cupy()
    kernel = Kernel("nn/activate", ACTIVATE.reference)
    kernel(cupy.ones(33, np.float32), 1, 0.0)
    (program,) = nvrtc.programs(kernel.text(), "float32", compile_gate.numbers(kernel))
    assert program.text.endswith(kernel.built(cupy).cached_code)
