"""gpunet.optim.kernel: rule 1 (one signature), what CuPy is given, what comes before a formula."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.optim.kernel import VECTORS, clipped, decayed
from gpunet.optim.scalars import is_steady, known_at, names_of

OPTIMIZERS = list(gn.OPTIMIZERS.values())
INF = np.float64(np.inf)


def settings_of(optimizer: Any) -> dict[str, Any]:
    return {**optimizer().defaults, **({"lr": 0.1} if optimizer.has_lr else {})}


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: o.__name__)
def test_header_names_are_the_reference_names_in_order(optimizer: Any) -> None:
    source = optimizer.kernel.source
    header = [p.name for p in source.inputs] + list(source.scalars)
    header += [p.name for p in source.outputs]
    assert tuple(header) == names_of(optimizer.reference)
    assert [p.name for p in source.inputs] == ["grad"]
    assert source.outputs[0].name == "param"


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: o.__name__)
def test_nothing_is_derived_that_no_header_names(optimizer: Any) -> None:
    known = known_at(1, settings_of(optimizer), optimizer.derived)
    of_betas = {"beta1", "beta2", "correction1", "correction2"}
    more = known.keys() - settings_of(optimizer).keys() - of_betas - {"t"}
    assert more <= set(optimizer.kernel.source.scalars) <= known.keys()


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: o.__name__)
def test_steady_optimizers_are_those_that_do_not_use_t(optimizer: Any) -> None:
    settings, names = settings_of(optimizer), optimizer.kernel.source.scalars
    rows = []
    for t in (1, 2, 9, 1000):
        known = known_at(t, settings, optimizer.derived)
        rows.append([known[name] for name in names])
    steady = is_steady(settings, optimizer.derived, optimizer.kernel)
    assert steady == all(row == rows[0] for row in rows)


def test_slots_come_from_the_out_line() -> None:
    def names(optimizer: Any) -> list[str]:
        return [slot.name for slot in optimizer.kernel.slots(optimizer.defaults)]

    assert names(gn.COCOB()) == ["L", "G", "reward", "theta", "w1"]
    assert names(gn.SGD()) == []
    assert names(gn.RMSProp(momentum=0.5)) == ["square_avg", "velocity"]


def test_states_start_from_what_the_out_line_says() -> None:
    grads = {"w": np.zeros(2)}

    def start(optimizer: Any) -> dict[str, list[float]]:
        optimizer.update({"w": np.array([3.0, 4.0])}, grads)
        return {name: a.tolist() for name, a in optimizer.by_key.state["w"].items()}

    assert start(gn.COCOB(eps=0.5))["w1"] == [3.0, 4.0]
    assert start(gn.COCOB(eps=0.5))["L"] == [0.5, 0.5]
    assert start(gn.AdaGrad(initial_accumulator=0.25))["sum_square"] == [0.25, 0.25]
    assert start(gn.RProp(lr=gn.schedules.constant(0.125)))["step_size"] == [0.125, 0.125]


def test_what_cupy_is_given_for_an_update() -> None:
    text = gn.Momentum.kernel.text()
    ins, outs, body = text.arguments
    assert (text.kind, text.name) == ("ElementwiseKernel", "gpunet_optim_momentum")
    assert ins == "T grad_, raw T rows, int64 at, raw int64 counters, raw T norm_"
    assert outs == "T param_, T velocity_"
    assert "const T _decay = rows[_row + 2];" in body
    assert "const T momentum = rows[_row + 4];" in body
    assert body.endswith("param_ = param;\nvelocity_ = velocity;")
    assert '#line 1 "kernels/common.cuh"' in text.preamble


def test_vectors_are_the_same_formula_over_raw_arrays() -> None:
    text = gn.Momentum.kernel.text(frozenset({VECTORS}))
    ins, outs, body = text.arguments
    assert (text.kind, text.name) == ("ElementwiseKernel", "gpunet_optim_momentum_vectors")
    assert ins == "raw T grad_, raw T rows, int64 at, raw int64 counters, raw T norm_"
    assert outs == "raw T param_, raw T velocity_"
    assert body.count(gn.Momentum.kernel.source.body) == 1
    loads, loop = body.split("for (")
    assert loads.index("_v_velocity = vector_of") < loads.index("clip_scale")  # loads first
    assert "rows[" not in loop


def test_a_formula_that_names_weight_decay_decays_by_itself() -> None:
    body = gn.AdamW.kernel.text().arguments[2]
    assert "decayed(" not in body
    assert "const T weight_decay = rows[_row + 3];" in body


def test_options_are_defined_and_name_the_kernel() -> None:
    text = gn.RMSProp.kernel.text(frozenset({"centered"}))
    assert text.name == "gpunet_optim_rmsprop_centered"
    assert "#define CENTERED 1\n#define MOMENTUM 0\n" in text.preamble
    assert text.arguments[1] == "T param_, T square_avg_, T grad_avg_"
    assert gn.RMSProp.kernel.text().arguments[1] == "T param_, T square_avg_"


def test_a_scalar_that_nothing_gives_is_named(tmp_path: Path) -> None:
    file = tmp_path / "own.cu"
    file.write_text(
        "// in: T grad\n// scalars: lr, mu\n// out: T param\nparam -= lr * mu * grad;\n"
    )

    class Lacking(gn.Optimizer):
        lr: float = 0.1
        cuda = file

        @staticmethod
        def reference(grad: Any, lr: Any, mu: Any, param: Any) -> None:
            param -= lr * mu * grad

    with pytest.raises(ValueError, match=r"own\.cu: nothing gives the scalar 'mu'.*derived"):
        Lacking().update({"w": np.ones(1)}, {"w": np.ones(1)})


def test_clipping_leaves_the_gradient_alone_without_limits() -> None:
    grad = np.array([3.0, -4.0, np.nan])
    assert clipped(grad, np.ones(1), INF, INF) is grad
    assert clipped(grad, None, INF, INF) is grad


def test_clipping_by_norm_then_by_value() -> None:
    grad, norm = np.array([30.0, -40.0]), np.array([50.0])
    by_norm = clipped(grad, norm, np.float64(5.0), INF)
    np.testing.assert_allclose(by_norm, [3.0, -4.0], rtol=1e-7)
    both = clipped(grad, norm, np.float64(5.0), np.float64(3.5))
    np.testing.assert_allclose(both, [3.0, -3.5], rtol=1e-7)
    assert grad.tolist() == [30.0, -40.0]


def test_weight_decay_joins_the_gradient() -> None:
    grad, param = np.array([1.0, -1.0]), np.array([2.0, np.inf])
    assert decayed(grad, param, 0.5).tolist() == [2.0, np.inf]
    assert decayed(grad, param, 0.0) is grad
