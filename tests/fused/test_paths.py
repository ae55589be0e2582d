"""One step by every path: the tape, fused, captured as a CUDA graph, with native updates, on each
device. All come to the same numbers, and all refuse the same things.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet import cxx
from gpunet.activation import ACTIVATIONS
from gpunet.backend import to_device, to_host
from gpunet.optim import native

FEATURES, CLASSES = 6, 4
PATHS = ["tape", "fused", "captured tape", "captured"]


@pytest.fixture
def native_updates(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The optimizers' CUDA text as a loop on the CPU."""
    if not cxx.available()[0]:
        pytest.skip(cxx.available()[1])
    monkeypatch.setenv("GPUNET_CPU_KERNELS", "native")
    native.choice.cache_clear()
    yield
    monkeypatch.undo()
    native.choice.cache_clear()


@pytest.fixture(params=PATHS)
def path(request: pytest.FixtureRequest, device: str) -> str:
    return str(request.param)


def by(path: str, model: Any, optimizer: Any, loss: Any = None) -> Callable[..., Any]:
    """A step; NumPy arrays run a captured one as it is."""
    step = gn.Step(model, loss or gn.SoftmaxWithLoss(), optimizer, fuse="tape" not in path)
    assert (step.reason is None) == ("tape" not in path)
    return gn.capture(step) if "captured" in path else step


def batch(device: str, rows: int = 8, seed: int = 0, dtype: str = "float64") -> tuple[Any, Any]:
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((rows, FEATURES)).astype(dtype)
    return to_device(x, device), to_device(generator.integers(0, CLASSES, rows), device)


def arrays(model: Any) -> dict[str, Any]:
    named = {name: p.data for name, p in model.named_parameters()}
    return {name: to_host(a).copy() for name, a in (named | dict(model.named_buffers())).items()}


# Random networks


def activation(kind: str, choose: Any) -> Any:
    """With a setting, if it has one."""
    layer = ACTIVATIONS[kind]()
    for name, value in {"slope": 0.3, "alpha": 0.7, "approximate": "tanh"}.items():
        if name in layer.config() and choose.random() < 0.5:
            setattr(layer, name, value)
    return layer


def random_net(seed: int) -> tuple[gn.Sequential, dict[str, Any]]:
    """Any chain that can run fused, and a loss's settings."""
    choose = np.random.default_rng(seed)
    gn.seed(seed)
    layers: list[Any] = []
    if choose.random() < 0.3:
        layers.append(gn.Rescale(float(choose.uniform(0.2, 2)), "float64"))
    before = FEATURES
    for _ in range(choose.integers(0, 4)):
        after = int(choose.integers(1, 40))
        layers.append(gn.Affine(before, after, bias=bool(choose.random() < 0.7), dtype="float64"))
        if choose.random() < 0.5:
            momentum, eps = choose.uniform(0, 1), 10 ** choose.uniform(-5, -1)
            layers.append(gn.BatchNorm(after, momentum=momentum, eps=eps, dtype="float64"))
            layers[-1].track = bool(choose.random() < 0.8)
        kind = choose.choice([*ACTIVATIONS, ""])
        layers += [activation(kind, choose)] if kind else []
        if choose.random() < 0.5:
            layers.append(gn.Dropout(float(choose.choice([0.0, 0.2, 0.5, 1.0])), seed=int(seed)))
        before = after
    layers.append(gn.Affine(before, CLASSES, bias=bool(choose.random() < 0.7), dtype="float64"))
    smoothing = float(choose.choice([0.0, 0.1, 0.6]))
    return gn.Sequential(*layers), {"label_smoothing": smoothing}


def trained(path: str, seed: int, device: str) -> tuple[dict[str, Any], list[float]]:
    model, settings = random_net(seed)
    model.to(device)
    settings_ = {"lr": 0.01, "weight_decay": 0.01, "clip_norm": 1.0, "eps": 1e-2}
    optimizer = gn.optim.RMSProp(model.parameters(), **settings_)
    run = by(path, model, optimizer, gn.SoftmaxWithLoss(**settings))
    values = [run(*batch(device, rows, k)) for k, rows in enumerate((8, 8, 8, 33, 8, 33, 33))]
    return arrays(model), [float(v) for v in values]


@pytest.mark.parametrize("seed", range(12))
def test_a_random_network_trains_alike_on_every_path(seed: int, path: str, device: str) -> None:
    expected, losses = trained("tape", seed, "cpu")
    found, values = trained(path, seed, device)
    np.testing.assert_allclose(values, losses, rtol=1e-9)
    for name, a in found.items():
        np.testing.assert_allclose(a, expected[name], rtol=1e-7, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_every_activation_and_its_settings(kind: str, norm: bool, path: str, device: str) -> None:
    """Changed between steps: what a graph was captured with must follow."""

    def run(path: str, device: str) -> tuple[dict[str, Any], list[float]]:
        layer = ACTIVATIONS[kind]()
        norms = [gn.BatchNorm(5, dtype="float64")] if norm else []
        model, optimizer = small(device, *norms, layer, gn.Dropout(0.2, seed=3))
        step, values = by(path, model, optimizer), []
        for k in range(5):
            values.append(float(step(*batch(device, seed=k))))
            for name, value in {"slope": 0.5, "alpha": 0.25, "approximate": "tanh"}.items():
                if k == 2 and name in layer.config():
                    setattr(layer, name, value)
        return arrays(model), values

    expected, losses = run("tape", "cpu")
    found, values = run(path, device)
    np.testing.assert_allclose(values, losses, rtol=1e-9)
    for name, a in found.items():
        np.testing.assert_allclose(a, expected[name], rtol=1e-7, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("seed", range(3))
def test_with_native_updates(seed: int, native_updates: None) -> None:
    expected, losses = trained("tape", seed, "cpu")
    for path in ("tape", "fused"):
        found, values = trained(path, seed, "cpu")
        np.testing.assert_allclose(values, losses, rtol=1e-9)
        for name, a in found.items():
            np.testing.assert_allclose(a, expected[name], rtol=1e-7, atol=1e-9, err_msg=name)


# What is refused, or taken, wherever a step runs


def small(device: str, *middle: Any) -> tuple[Any, Any]:
    gn.seed(1)
    first, last = gn.Affine(FEATURES, 5, dtype="float64"), gn.Affine(5, CLASSES, dtype="float64")
    model = gn.Sequential(first, *middle, last).to(device)
    return model, gn.SGD(model.parameters(), lr=0.1)


@pytest.mark.parametrize("kind", ["u1", "i2", "<u4", "<u8"])
def test_labels_of_any_integers(kind: str, path: str, device: str) -> None:
    assert losses_with(kind, path, device) == losses_with("i8", path, device)


@pytest.mark.parametrize("kind", [">i2", ">i4", ">i8", ">u8"])
def test_labels_of_another_byte_order(kind: str, path: str) -> None:
    """On the CPU: a GPU has its own alone."""
    assert losses_with(kind, path, "cpu") == losses_with("i8", path, "cpu")


def losses_with(kind: str, path: str, device: str) -> list[float]:
    """Of three steps on labels of that dtype."""
    model, optimizer = small(device, gn.ReLU())
    run = by(path, model, optimizer)
    batches = (batch(device, seed=k) for k in range(3))
    return [float(run(x, t.astype(kind))) for x, t in batches]


@pytest.mark.parametrize("kind", ["i8", ">i8", ">i2", "u8", ">u8", "i1"])
def test_a_label_out_of_range_on_the_cpu(kind: str, path: str) -> None:
    model, optimizer = small("cpu", gn.ReLU())
    run = by(path, model, optimizer)
    x, t = batch("cpu")
    before = arrays(model)
    for bad in (CLASSES, 100, *((-1,) if "i" in kind else (2**63,) if kind[-1] == "8" else ())):
        wrong = t.astype(kind)
        wrong[3] = bad
        with pytest.raises(ValueError, match=f"label {bad} in row 3 is out of range"):
            run(x, wrong)
    assert all((a == before[name]).all() for name, a in arrays(model).items())


def test_complex_input(path: str, device: str) -> None:
    model, optimizer = small(device, gn.ReLU())
    run = by(path, model, optimizer)
    x, t = batch(device)
    for _ in range(3):
        with pytest.raises(TypeError, match="complex"):
            run(x + 0j, t)


def test_settings_that_are_changed_later(path: str, device: str) -> None:
    model, optimizer = small(device, gn.BatchNorm(5, dtype="float64"), gn.Dropout(0.5))
    loss = gn.SoftmaxWithLoss()
    run = by(path, model, optimizer, loss)
    wrong = [(loss, "label_smoothing", 1.5), (loss, "label_smoothing", -0.1), (model[2], "p", 2.0)]
    wrong += [(model[1], "momentum", -1.0), (model[1], "eps", -1e-5)]
    for k in range(3):
        run(*batch(device, seed=k))
        for layer, name, value in wrong:
            before = getattr(layer, name)
            with pytest.raises(ValueError, match=name):
                setattr(layer, name, value)
            assert getattr(layer, name) == before


@pytest.mark.parametrize("exchange", ["W", "gamma", "layer"])
def test_a_parameter_that_is_exchanged(exchange: str, path: str, device: str) -> None:
    model, optimizer = small(device, gn.BatchNorm(5, dtype="float64"))
    run = by(path, model, optimizer)
    for k in range(3):
        run(*batch(device, seed=k))
    before = arrays(model)
    if exchange == "W":
        model[0].W = gn.Parameter(model[0].W.data * 2)
    elif exchange == "gamma":
        model[1].gamma = gn.Parameter(model[1].gamma.data * 2)
    else:
        new = gn.Affine(5, CLASSES, dtype="float64").to(device)
        model.layers = (*model.layers[:2], new)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="has come into the model since this step was made"):
            run(*batch(device))
    same = {"W": "0.W", "gamma": "1.gamma", "layer": "2."}[exchange]
    for name, a in arrays(model).items():
        if not name.startswith(same):
            assert (a == before[name]).all(), name
    run = by(path, model, gn.SGD(model.parameters(), lr=0.1))
    run(*batch(device))
    assert all((a != before[name]).any() for name, a in arrays(model).items() if name == "0.W")


def test_values_that_are_exchanged_train_on(path: str, device: str) -> None:
    model, optimizer = small(device, gn.ReLU())
    run = by(path, model, optimizer)
    for k in range(3):
        run(*batch(device, seed=k))
    model[0].W.data = to_device(np.ones((FEATURES, 5)), device)
    run(*batch(device))
    assert 0 < abs(arrays(model)["0.W"] - 1).max() < 0.5


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_a_step_returns(dtype: str, path: str, device: str) -> None:
    gn.seed(1)
    model = gn.MLP([FEATURES, 5, CLASSES], dtype=dtype).to(device)
    run = by(path, model, gn.SGD(model.parameters()))
    for k in range(3):
        value = run(*batch(device, seed=k, dtype=dtype))
        assert (value.dtype, value.shape) == (np.float64, ())


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_single_class_is_refused_and_trains_nothing(
    smoothing: float, path: str, device: str
) -> None:
    model = gn.MLP([FEATURES, 5, 1]).to(device)
    before = arrays(model)
    x, t = batch(device)
    step = gn.Step(model, gn.SoftmaxWithLoss(smoothing), gn.SGD(model.parameters(), lr=1.0))
    assert step.reason is not None  # the loss refuses on the tape, whatever was asked for
    run = gn.capture(step) if "captured" in path else step
    with pytest.raises(ValueError, match="softmax over one output"):
        run(x, t * 0)
    assert all((a == before[name]).all() for name, a in arrays(model).items())


def test_a_copy_of_a_model_has_a_step_of_its_own(path: str, device: str) -> None:
    model, optimizer = small(device, gn.ReLU())
    twin = copy.deepcopy(model)
    by(path, model, optimizer)(*batch(device))
    by(path, twin, gn.SGD(twin.parameters(), lr=0.1))(*batch(device))
    assert all((a == arrays(twin)[name]).all() for name, a in arrays(model).items())
