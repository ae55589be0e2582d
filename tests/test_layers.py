"""gpunet.layers: parameters, state, mode, structure, and every layer by hand and by the tape."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.backend import device_of, to_device, to_host
from gpunet.containers import build, describe
from gpunet.context import frozen
from gpunet.study.gradcheck import gradcheck

GOLDEN = np.load(Path(__file__).parent / "golden" / "layers.npz")
BATCHES = (2, 5, 33)


def golden(xp: Any, case: str) -> dict[str, Any]:
    start = f"{case}/"
    return {n[len(start) :]: xp.asarray(GOLDEN[n]) for n in GOLDEN.files if n.startswith(start)}


def numbers(xp: Any, *shape: int, seed: int = 0, dtype: Any = np.float64) -> Any:
    return xp.asarray(np.random.default_rng(seed).standard_normal(shape).astype(dtype))


def check(found: Any, wanted: Any, rtol: float = 1e-12) -> None:
    found = to_host(found.data if isinstance(found, gn.Tensor) else found)
    wanted = to_host(wanted)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=rtol, atol=rtol)


def same(found: Any, wanted: Any) -> None:
    np.testing.assert_array_equal(to_host(found), to_host(wanted))


def same_states(a: Any, b: Any) -> None:
    assert list(a) == list(b)
    for name in a:
        same(a[name], b[name])


@pytest.fixture(autouse=True)
def _seeded() -> None:
    gn.seed(1)


def random_batch_norm(features: int, seed: int = 0, **options: Any) -> gn.BatchNorm:
    """Float64, with gamma of both signs and statistics unlike 0 and 1."""
    rng = np.random.default_rng(seed)
    layer = gn.BatchNorm(features, dtype=np.float64, **options)
    layer.gamma.data = rng.standard_normal(features)
    layer.beta.data = rng.standard_normal(features)
    layer.running_mean[...] = rng.standard_normal(features)
    layer.running_var[...] = rng.uniform(0.5, 2, features)
    return layer


F64 = np.float64
LAYERS: dict[str, Callable[[], gn.Layer]] = {
    "Affine": lambda: gn.Affine(4, 3, dtype=F64),
    "Affine without bias": lambda: gn.Affine(4, 3, bias=False, dtype=F64),
    "ReLU": gn.ReLU,
    "Sigmoid": gn.Sigmoid,
    "Tanh": gn.Tanh,
    "BatchNorm": lambda: random_batch_norm(4),
    "BatchNorm in evaluation": lambda: random_batch_norm(4).eval(),
    "Dropout": lambda: gn.Dropout(0.4),
    "Dropout in evaluation": lambda: gn.Dropout(0.4).eval(),
    "Sequential": lambda: gn.Sequential(
        gn.Affine(4, 5, dtype=F64), random_batch_norm(5), gn.Tanh(), gn.Affine(5, 2, dtype=F64)
    ),
    "empty Sequential": gn.Sequential,
    "MLP": lambda: gn.MLP([4, 6, 5, 2], "sigmoid", batch_norm=True, dropout=0.3, dtype=F64),
}
LOSSES: dict[str, tuple[Callable[[], gn.Layer], str]] = {
    "softmax, labels": (gn.SoftmaxWithLoss, "labels"),
    "softmax, soft": (gn.SoftmaxWithLoss, "soft"),
    "softmax, smoothed": (lambda: gn.SoftmaxWithLoss(label_smoothing=0.1), "labels"),
    "softmax, weights": (lambda: gn.SoftmaxWithLoss(class_weights=[1, 2, 0.5, 1]), "labels"),
    "squared": (gn.MeanSquaredError, "soft"),
    "half squared": (lambda: gn.MeanSquaredError(reduction="half_sum"), "soft"),
    "KL": (gn.KLDivergence, "soft"),
    "sigmoid": (gn.SigmoidWithLoss, "soft"),
}


def targets(xp: Any, kind: str, rows: int) -> Any:
    rng = np.random.default_rng(7)
    if kind == "labels":
        return xp.asarray(rng.integers(0, 4, rows))
    return xp.asarray(rng.dirichlet(np.ones(4), rows))


# --- gradients ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [2, 3, 9, 33])
@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_passes_gradcheck(xp: Any, device: str, name: str, rows: int) -> None:
    layer = LAYERS[name]().to(device)
    before = layer.state_dict()
    assert gradcheck(layer, [numbers(xp, rows, 4)])
    same_states(layer.state_dict(), before)


@pytest.mark.parametrize("rows", [2, 3, 9, 33])
@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_passes_gradcheck(xp: Any, name: str, rows: int) -> None:
    make, kind = LOSSES[name]
    loss, t = make(), targets(xp, kind, rows)
    assert gradcheck(lambda z: loss(z, t), [numbers(xp, rows, 4)])


def test_a_network_with_its_loss_passes_gradcheck(xp: Any, device: str) -> None:
    model, loss = LAYERS["MLP"]().to(device), gn.SoftmaxWithLoss()
    x, t = numbers(xp, 5, 4), xp.asarray(np.array([0, 1, 1, 0, 1]))
    assert gradcheck(lambda x, *_: loss(model(x), t), [x, *model.parameters()])


@pytest.mark.parametrize("name", LAYERS)
def test_by_hand_equals_the_tape(xp: Any, device: str, name: str) -> None:
    by_hand, by_tape = LAYERS[name]().to(device), LAYERS[name]().to(device)
    by_tape.load_state_dict(by_hand.state_dict())
    for layer in (by_hand, by_tape):
        for _, child in [("", layer), *layer.named_layers()]:
            if isinstance(child, gn.Dropout):
                child.seed = 3
    x = gn.Tensor(numbers(xp, 6, 4), requires_grad=True)
    y = by_tape(x)
    gy = numbers(xp, *y.shape, seed=2)
    y.backward(gy)
    out = by_hand.forward(x.data)
    dx = by_hand.backward(gy)
    assert not isinstance(out, gn.Tensor)
    assert not isinstance(dx, gn.Tensor)
    same(out, y.data)
    same(dx, x.grad)
    assert dx is not gy
    for p, q in zip(by_hand.parameters(), by_tape.parameters(), strict=True):
        same(p.grad, q.grad)
    same_states(by_hand.state_dict(), by_tape.state_dict())


@pytest.mark.parametrize("name", LOSSES)
def test_losses_by_hand_equal_the_tape(xp: Any, name: str) -> None:
    make, kind = LOSSES[name]
    loss, t = make(), targets(xp, kind, 5)
    z = gn.Tensor(numbers(xp, 5, 4), requires_grad=True)
    value = loss(z, t)
    value.backward()
    same(loss.forward(z.data, t), value.data)
    same(loss.backward(), z.grad)
    loss.forward(z.data, t)
    check(loss.backward(xp.asarray(np.array(2.0))), 2 * to_host(z.grad))


def test_a_network_by_hand_layer_by_layer(xp: Any, device: str) -> None:
    """The loop of a reader who studies backprop: forward one way, backward the other."""
    model, loss = LAYERS["MLP"]().eval().to(device), gn.SoftmaxWithLoss()
    x, t = numbers(xp, 5, 4), xp.asarray(np.array([0, 1, 1, 0, 1]))
    out = x
    for layer in model:
        out = layer.forward(out)
    value = loss.forward(out, t)
    g = loss.backward()
    for layer in reversed(list(model)):
        g = layer.backward(g)
    gradients = [to_host(p.grad).copy() for p in model.parameters()]
    model.zero_grad()
    leaf = gn.Tensor(x, requires_grad=True)
    whole = loss(model(leaf), t)
    whole.backward()
    same(value, whole.data)
    check(g, leaf.grad)
    for found, p in zip(gradients, model.parameters(), strict=True):
        check(found, p.grad)


def test_by_hand_with_lists_integers_and_tensors() -> None:
    layer = gn.Affine(2, 1)
    layer.W.data = [[1.0], [2.0]]
    same(layer.forward([[1.0, 1.0]]), [[3.0]])
    same(layer.backward(np.ones((1, 1), np.float32)), [[1.0, 2.0]])
    same(layer.forward(gn.Tensor([[1.0, 1.0]])), [[3.0]])
    layer.forward(np.array([[3, 4]]))
    layer.zero_grad()
    assert layer.backward(np.ones((1, 1))) is None  # integers have no gradient
    same(layer.W.grad, [[3.0], [4.0]])


def test_by_hand_backward_needs_a_forward() -> None:
    layer = gn.ReLU()
    with pytest.raises(RuntimeError, match=r"ReLU.backward needs a forward\(x\) before it"):
        layer.backward(np.ones(2))
    layer.forward(np.ones(2))
    layer.backward(np.ones(2))
    with pytest.raises(RuntimeError, match="needs a forward"):
        layer.backward(np.ones(2))
    with gn.no_grad():
        layer.forward(np.ones(2))
    with pytest.raises(RuntimeError, match="nothing to differentiate"):
        layer.backward(np.ones(2))


# --- golden values --------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", BATCHES)
def test_affine_equals_pytorch(xp: Any, device: str, rows: int) -> None:
    g = golden(xp, f"affine/b{rows}")
    layer = gn.Affine(7, 4, dtype=F64).to(device)
    layer.load_state_dict({"W": g["W"], "b": g["b"]})
    check(layer.forward(g["x"]), g["y"])
    check(layer.backward(g["gy"]), g["dx"])
    check(layer.W.grad, g["dW"])
    check(layer.b.grad, g["db"])


@pytest.mark.parametrize("rows", BATCHES)
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_batch_norm_equals_pytorch(xp: Any, device: str, mode: str, rows: int) -> None:
    g = golden(xp, f"batch_norm_{mode}/b{rows}")
    layer = gn.BatchNorm(6, dtype=F64).to(device).train(mode == "train")
    layer.load_state_dict({k: g[k] for k in ("gamma", "beta", "running_mean", "running_var")})
    check(layer.forward(g["x"]), g["y"])
    check(layer.backward(g["gy"]), g["dx"])
    check(layer.gamma.grad, g["dgamma"])
    check(layer.beta.grad, g["dbeta"])
    for name in ("running_mean", "running_var"):
        check(getattr(layer, name), g[name + "_after" if mode == "train" else name])


@pytest.mark.parametrize("eps", [1e-4, 1e-8])
def test_a_whole_network_trains_as_in_pytorch(xp: Any, device: str, eps: float) -> None:
    """Ten steps of Adam. With eps 1e-8 Adam turns the rounding noise in the gradients of biases
    before BatchNorm into steps, so those are left out (tests/golden/README.md).
    """
    g = golden(xp, "mlp" if eps == 1e-4 else "mlp_eps_1e-8")
    model = gn.MLP([8, 16, 12, 4], batch_norm=True, dtype=F64).to(device)
    model.load_state_dict({k[8:]: a for k, a in g.items() if k.startswith("initial/")})
    loss_fn, opt = gn.SoftmaxWithLoss(), gn.Adam(model.parameters(), lr=0.01, eps=eps)
    losses = []
    for step in range(10):
        loss = loss_fn(model(g["x"][step]), g["t"][step])
        opt.zero_grad()
        loss.backward()
        if step == 0:
            for name, p in model.named_parameters():
                check(p.grad, g[f"gradient/{name}"])
        opt.step()
        losses.append(loss.item())
    check(np.array(losses), g["losses"])
    noisy = () if eps == 1e-4 else ("0.b", "3.b", "1.running_mean", "4.running_mean")
    for name, array in model.state_dict().items():
        if name not in noisy:
            check(array, g[f"final/{name}"], rtol=1e-11)
    check(model.eval()(g["x"][0]), g["eval"], rtol=1e-11 if eps == 1e-4 else 1e-8)


# --- Affine ---------------------------------------------------------------------------------------


def test_affine_parameters() -> None:
    layer = gn.Affine(3, 5)
    assert layer.W.shape == (3, 5)
    assert layer.b is not None
    assert layer.b.shape == (5,)
    assert layer.W.dtype == layer.b.dtype == np.float32
    assert layer.W.decay
    assert not layer.b.decay
    same(layer.b.data, np.zeros(5))
    assert gn.Affine(3, 5, bias=False).b is None
    assert len(gn.Affine(3, 5, bias=False).parameters()) == 1


def test_an_initializer_of_ones_own() -> None:
    layer = gn.Affine(2, 3, init=lambda generator, shape: np.full(shape, 2))
    same(layer.W.data, np.full((2, 3), 2.0))
    assert layer.W.dtype == np.float32
    lists = gn.Affine(1, 2, init=lambda generator, shape: [[1, 2]])  # type: ignore[arg-type,return-value]
    same(lists.W.data, [[1.0, 2.0]])
    with pytest.raises(ValueError, match=r"init returned shape \(3, 2\).*\(2, 3\)"):
        gn.Affine(2, 3, init=lambda generator, shape: np.ones((3, 2)))


BAD_SIZES = [0, -1, 2.0, "3", None, True]


@pytest.mark.parametrize("size", BAD_SIZES)
def test_bad_sizes(size: Any) -> None:
    with pytest.raises(ValueError, match="in_features must be a whole number from 1"):
        gn.Affine(size, 2)
    with pytest.raises(ValueError, match="out_features must be a whole number from 1"):
        gn.Affine(2, size)
    with pytest.raises(ValueError, match="features must be a whole number from 1"):
        gn.BatchNorm(size)
    with pytest.raises(ValueError, match="each of sizes must be a whole number from 1"):
        gn.MLP([2, size, 2])


@pytest.mark.parametrize("dtype", [int, np.float16, "floaty", None, complex])
def test_bad_dtypes(dtype: Any) -> None:
    for make in (
        lambda: gn.Affine(2, 3, dtype=dtype),
        lambda: gn.BatchNorm(2, dtype=dtype),
        lambda: gn.MLP([2, 3], dtype=dtype),
    ):
        with pytest.raises(ValueError, match="dtype must be float32 or float64, got"):
            make()


@pytest.mark.parametrize("dtype", ["float64", np.float64, np.dtype("f8"), float])
def test_float64_everywhere(xp: Any, device: str, dtype: Any) -> None:
    model = gn.MLP([4, 5, 2], batch_norm=True, dropout=0.5, dtype=dtype).to(device)
    arrays = model.state_dict().values()
    assert {a.dtype for a in arrays} == {np.dtype(np.float64)}
    loss = gn.SoftmaxWithLoss()(model(numbers(xp, 6, 4)), xp.zeros(6, int))
    loss.backward()
    assert loss.dtype == np.float64
    assert {p.grad.dtype for p in model.parameters()} == {np.dtype(np.float64)}


@pytest.mark.parametrize("dtype", [np.float64, int, np.uint8, bool])
@pytest.mark.parametrize("first", ["Affine", "BatchNorm"])
def test_other_input_is_converted_to_float32(xp: Any, device: str, first: str, dtype: Any) -> None:
    x = xp.asarray(np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]).astype(dtype))
    layer = (gn.Affine(3, 2) if first == "Affine" else gn.BatchNorm(3)).to(device)
    model = gn.Sequential(layer, gn.ReLU())
    y = model(x)
    y.backward(xp.ones(y.shape))
    assert y.dtype == np.float32
    assert {p.grad.dtype for p in model.parameters()} == {np.dtype(np.float32)}
    assert {b.dtype for _, b in model.named_buffers()} <= {np.dtype(np.float32)}


@pytest.mark.parametrize("make", [lambda: gn.Affine(3, 2), lambda: gn.BatchNorm(3)])
def test_inputs_that_do_not_fit(xp: Any, device: str, make: Any) -> None:
    layer = make().to(device)
    before = layer.state_dict()
    with pytest.raises(ValueError, match=r"\(4, 5\) does not fit .*\(3,( 2)?\).*5 feat.*3 exp"):
        layer(numbers(xp, 4, 5))
    with pytest.raises(ValueError, match=r"got shape \(3,\); a single sample is x\[None\]"):
        layer(numbers(xp, 3))
    same_states(layer.state_dict(), before)


# --- BatchNorm ------------------------------------------------------------------------------------


def test_batch_norm_starts_and_moves() -> None:
    layer = gn.BatchNorm(2, momentum=0.5, dtype=F64)
    assert [n for n, _ in layer.named_parameters()] == ["gamma", "beta"]
    assert not any(p.decay for p in layer.parameters())
    same(layer.running_mean, [0, 0])
    same(layer.running_var, [1, 1])
    layer(np.array([[1.0, 0.0], [3.0, 0.0]]))
    check(layer.running_mean, np.array([1.0, 0.0]))
    check(layer.running_var, np.array([1.5, 0.5]))


def test_batch_norm_that_does_not_track() -> None:
    layer = gn.BatchNorm(2, dtype=F64)
    before = layer.state_dict()
    x = numbers(np, 4, 2)
    layer.track = False
    y = layer(x)
    same_states(layer.state_dict(), before)
    layer.track = True
    with frozen():
        same(layer(x).data, y.data)
    same_states(layer.state_dict(), before)
    layer(x)
    assert layer.running_mean.any()


@pytest.mark.parametrize("rows", [0, 1])
def test_batch_norm_of_one_row(xp: Any, device: str, rows: int) -> None:
    layer = gn.BatchNorm(3).to(device)
    before = layer.state_dict()
    with pytest.raises(ValueError, match=rf"at least 2 rows, got {rows} .*model\.eval\(\)"):
        layer(numbers(xp, rows, 3))
    same_states(layer.state_dict(), before)
    assert layer.eval()(numbers(xp, rows, 3)).shape == (rows, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"momentum": -0.1}, r"momentum must lie in \[0, 1\], got -0.1"),
        ({"momentum": 1.1}, r"momentum must lie in \[0, 1\]"),
        ({"momentum": float("nan")}, r"momentum must lie in \[0, 1\]"),
        ({"eps": -1e-5}, "eps must be at least 0 and finite, got"),
        ({"eps": float("nan")}, "eps must be at least 0"),
        ({"eps": float("inf")}, "eps must be at least 0"),
    ],
)
def test_batch_norm_with_bad_settings(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gn.BatchNorm(3, **options)


# --- Dropout --------------------------------------------------------------------------------------


def test_dropout_draws_another_mask_at_each_training_call(xp: Any) -> None:
    x = xp.ones((8, 16))
    layer, twin = gn.Dropout(0.5, seed=4), gn.Dropout(0.5, seed=4)
    masks = [to_host(layer(x).data) for _ in range(3)]
    assert not np.array_equal(masks[0], masks[1])
    assert not np.array_equal(masks[1], masks[2])
    for mask in masks:
        same(twin(x).data, mask)
    assert not np.array_equal(to_host(gn.Dropout(0.5, seed=5)(x).data), masks[0])
    same(gn.functional.dropout(x, p=0.5, seed=4, step=1).data, masks[1])


def test_dropout_has_one_mask_forward_and_backward(xp: Any) -> None:
    layer = gn.Dropout(0.5)
    y = to_host(layer.forward(xp.ones((8, 16))))
    same(layer.backward(xp.ones((8, 16))), y)
    assert set(y.ravel()) == {0.0, 2.0}


def test_dropout_in_evaluation_is_the_identity(xp: Any) -> None:
    layer = gn.Dropout(0.5).eval()
    x = numbers(xp, 4, 3)
    same(layer(x).data, x)
    assert layer.calls == 0


def test_frozen_dropout_keeps_its_mask(xp: Any) -> None:
    layer, x = gn.Dropout(0.5), xp.ones((8, 16))
    with frozen():
        first = to_host(layer(x).data)
        same(layer(x).data, first)
    same(layer(x).data, first)
    assert layer.calls == 1


def test_dropouts_of_a_network_differ() -> None:
    a, b = gn.Dropout(0.5), gn.Dropout(0.5)
    assert a.seed != b.seed
    gn.seed(1)
    assert gn.Dropout(0.5).seed == a.seed


@pytest.mark.parametrize("p", [-0.1, 1.01, float("nan"), "half", None])
def test_dropout_with_a_bad_share(p: Any) -> None:
    with pytest.raises(ValueError, match=r"p must lie in \[0, 1\], got"):
        gn.Dropout(p)


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, "s"])
def test_dropout_with_a_bad_seed(seed: Any) -> None:
    with pytest.raises(ValueError, match="seed must be a whole number"):
        gn.Dropout(0.5, seed=seed)


# --- losses as layers -----------------------------------------------------------------------------


def test_losses_equal_their_functions(xp: Any) -> None:
    z, t, q = numbers(xp, 5, 4), targets(xp, "labels", 5), targets(xp, "soft", 5)
    weights = xp.asarray(np.array([1, 2, 0.5, 1]))
    pairs = [
        (gn.SoftmaxWithLoss(0.1)(z, t), gn.softmax_cross_entropy(z, t, label_smoothing=0.1)),
        (
            gn.SoftmaxWithLoss(class_weights=[1, 2, 0.5, 1])(z, t),
            gn.softmax_cross_entropy(z, t, class_weights=weights),
        ),
        (gn.MeanSquaredError("half_sum")(z, q), gn.mean_squared_error(z, q, reduction="half_sum")),
        (gn.KLDivergence()(z, q), gn.kl_divergence(z, q)),
        (gn.SigmoidWithLoss()(z, q), gn.sigmoid_cross_entropy(z, q)),
    ]
    for layer, function in pairs:
        same(layer.data, function.data)


def test_class_weights_follow_the_logits_to_their_device(xp: Any) -> None:
    """A setting, moved once; a copy at each step would be hidden and could not be captured."""
    loss = gn.SoftmaxWithLoss(class_weights=np.array([1, 2, 0.5, 1]))
    z, t = numbers(xp, 5, 4), targets(xp, "labels", 5)
    value = loss(z, t).item()
    kept = loss._placed[1]
    assert device_of(kept) == device_of(z)
    assert loss(z, t).item() == value
    assert loss._placed[1] is kept
    loss.class_weights = np.array([1, 2, 0.5, 4])
    assert loss(z, t).item() != value
    loss.class_weights = np.array([1, 2, 0.5, 1])
    assert loss(to_host(z), to_host(t)).item() == pytest.approx(value)


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, float("nan")])
def test_softmax_loss_with_bad_settings(smoothing: float) -> None:
    with pytest.raises(ValueError, match=r"label_smoothing must lie in \[0, 1\)"):
        gn.SoftmaxWithLoss(label_smoothing=smoothing)


@pytest.mark.parametrize("weights", [[1, -1], [1, float("nan")], [[1, 1]], 1.0, []])
def test_bad_class_weights(weights: Any) -> None:
    with pytest.raises(ValueError, match="class_weights must be a row of finite numbers"):
        gn.SoftmaxWithLoss(class_weights=weights)


def test_an_unknown_reduction() -> None:
    with pytest.raises(ValueError, match='must be "mean" or "half_sum"'):
        gn.MeanSquaredError(reduction="sum")


# --- leading axes ---------------------------------------------------------------------------------


def test_layers_over_leading_axes(xp: Any, device: str) -> None:
    """Shared parameters: (3, batch, features) equals three runs whose gradients add up."""
    x, gy = numbers(xp, 3, 5, 4), numbers(xp, 3, 5, 2, seed=1)
    model = gn.Sequential(
        gn.Affine(4, 6, dtype=F64), random_batch_norm(6), gn.Tanh(), gn.Affine(6, 2, dtype=F64)
    ).to(device)
    norm = model[1]
    assert isinstance(norm, gn.BatchNorm)
    norm.track = False  # the statistics of three batches are three
    y = model.forward(x)
    dx = model.backward(gy)
    together = [to_host(p.grad).copy() for p in model.parameters()]
    model.zero_grad()
    for k in range(3):
        check(y[k], model.forward(x[k]))
        check(dx[k], model.backward(gy[k]))
    for p, gradient in zip(model.parameters(), together, strict=True):
        check(p.grad, gradient)
    norm.track = True
    before = model.state_dict()
    with pytest.raises(ValueError, match="one set for each model is needed"):
        model(x)
    same_states(model.state_dict(), before)


# --- what is inside -------------------------------------------------------------------------------


class Block(gn.Layer):
    """A layer of one's own: parameters and layers as attributes, a list of layers too."""

    def __init__(self) -> None:
        self.gain = gn.Parameter(np.ones(4))
        self.first = gn.Affine(4, 4, dtype=F64)
        self.rest = [gn.Affine(4, 4, dtype=F64), gn.BatchNorm(4, dtype=F64)]

    def call(self, x: gn.Tensor) -> gn.Tensor:
        x = self.first(x * self.gain)
        for layer in self.rest:
            x = layer(x)
        return x


def test_a_layer_of_ones_own(xp: Any, device: str) -> None:
    block = Block().to(device)
    names = ["gain", "first.W", "first.b", "rest.0.W", "rest.0.b", "rest.1.gamma", "rest.1.beta"]
    assert [n for n, _ in block.named_parameters()] == names
    assert [n for n, _ in block.named_buffers()] == ["rest.1.running_mean", "rest.1.running_var"]
    assert [n for n, _ in block.named_layers()] == ["first", "rest.0", "rest.1"]
    assert list(block.state_dict()) == [*names, *(n for n, _ in block.named_buffers())]
    assert not block.eval().rest[1].training
    assert block.device == device
    assert gradcheck(block.train(), [numbers(xp, 5, 4)])
    with pytest.raises(NotImplementedError, match=r"Block cannot be described: write config"):
        block.config()
    assert repr(block).startswith("Block(gain: (4,), first.W: (4, 4)")


def test_a_layer_without_call() -> None:
    with pytest.raises(NotImplementedError, match=r"Layer has no call\(self, x\)"):
        gn.Layer()(np.ones(2))


def test_parameters_are_in_order_and_shared_ones_once() -> None:
    a, b = gn.Affine(3, 3), gn.Affine(3, 3)
    model = gn.Sequential(a, gn.ReLU(), b, gn.ReLU(), a)
    parameters = model.parameters()
    assert [id(p) for p in parameters] == [id(p) for p in (a.W, a.b, b.W, b.b)]
    assert [n for n, _ in model.named_parameters()][:2] == ["0.W", "0.b"]
    x = numbers(np, 2, 3, dtype=np.float32)
    model(x).backward(np.ones((2, 3)))
    assert all(p.grad is not None for p in parameters)
    before = model.state_dict()
    model.load_state_dict(before)
    same_states(model.state_dict(), before)


def test_mlp_structure() -> None:
    model = gn.MLP([4, 8, 6, 2], activation="tanh", batch_norm=True, dropout=0.5)
    kinds = [gn.Affine, gn.BatchNorm, gn.Tanh, gn.Dropout]
    assert [type(layer) for layer in model] == [*kinds, *kinds, gn.Affine]
    assert [p.shape for p in model.parameters()] == [
        (4, 8), (8,), (8,), (8,), (8, 6), (6,), (6,), (6,), (6, 2), (2,),
    ]  # fmt: skip
    assert [type(layer) for layer in gn.MLP([4, 2])] == [gn.Affine]
    assert [type(layer) for layer in gn.MLP((4, 3, 2))] == [gn.Affine, gn.ReLU, gn.Affine]
    assert gn.MLP(np.array([4, 3, 2])).sizes == [4, 3, 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([4],), r"sizes needs an input and an output size, got \[4\]"),
        (([],), "sizes needs an input and an output size"),
        ((64,), "sizes needs an input and an output size, got 64"),
        (([4, 2], "gelu"), r"activation must be one of relu, sigmoid, tanh.*'gelu'"),
        (([4, 2], None), r"activation must be one of relu, sigmoid, tanh"),
        (([4, 3, 2], "relu", False, 1.5), r"must lie in \[0, 1\], got 1.5"),
        (([4, 2], "relu", False, -0.5), r"must lie in \[0, 1\], got -0.5"),
    ],
)
def test_bad_mlps(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gn.MLP(*arguments)


def test_sequential_is_a_sequence() -> None:
    layers = [gn.Affine(2, 3), gn.ReLU(), gn.Affine(3, 1)]
    model = gn.Sequential(*layers)
    assert len(model) == 3
    assert list(model) == layers
    assert model[-1] is layers[2]
    with pytest.raises(IndexError):
        model[3]
    with pytest.raises(TypeError, match="layer 1 of Sequential is a list, expected a Layer"):
        gn.Sequential(gn.ReLU(), [gn.ReLU()])  # type: ignore[arg-type]
    same(gn.Sequential()(np.ones(2)).data, np.ones(2))


def test_a_slice_of_a_sequential_is_one_with_the_same_layers() -> None:
    model = gn.MLP([2, 3, 1])
    x = numbers(np, 4, 2, dtype=np.float32)
    head, tail = model[:2], model[2:]
    assert isinstance(head, gn.Sequential)
    assert isinstance(tail, gn.Sequential)
    assert head[0] is model[0]
    same(tail(head(x)).data, model(x).data)


def test_repr_is_for_people() -> None:
    assert repr(gn.ReLU()) == "ReLU()"
    text = repr(gn.MLP([2, 3, 1]))
    assert text.splitlines()[0] == "MLP("
    assert "  0: Affine(in_features=2, out_features=3, bias=True, dtype='float32')" in text
    assert repr(gn.Sequential()) == "Sequential()"


# --- initial weights ------------------------------------------------------------------------------


def spread(layer: gn.Layer) -> float:
    assert isinstance(layer, gn.Affine)
    return float(np.var(to_host(layer.W.data)) * layer.in_features)


ACTIVATIONS = [(gn.ReLU, 2.0), (gn.Sigmoid, 1.0), (gn.Tanh, 1.0)]


@pytest.mark.parametrize(("kind", "wanted"), ACTIVATIONS)
def test_the_initializer_follows_the_activation(kind: Any, wanted: float) -> None:
    """200 x 200 normal numbers: their variance within 4 sqrt(2 / n) of the wanted one."""
    bound = 4 * np.sqrt(2 / 40_000)
    model = gn.Sequential(
        gn.Affine(200, 200), gn.BatchNorm(200), gn.Dropout(0.5), kind(), gn.Affine(200, 200)
    )
    assert abs(spread(model[0]) / wanted - 1) < bound
    assert abs(spread(model[4]) - 1) < bound  # LeCun: nothing follows
    name = kind.__name__.lower()
    hidden, last = (
        layer for layer in gn.MLP([200, 200, 200], name) if isinstance(layer, gn.Affine)
    )
    assert abs(spread(hidden) / wanted - 1) < bound
    assert abs(spread(last) - 1) < bound


def test_a_lone_affine_is_drawn_for_relu() -> None:
    assert abs(spread(gn.Affine(200, 200)) / 2 - 1) < 4 * np.sqrt(2 / 40_000)


def test_an_initializer_that_was_given_stays() -> None:
    model = gn.Sequential(gn.Affine(200, 200, init=gn.Normal(0.1)), gn.Tanh())
    assert abs(spread(model[0]) / 2 - 1) < 4 * np.sqrt(2 / 40_000)


@pytest.mark.parametrize("change", ["assigned", "loaded", "written", "one element", "trained"])
def test_weights_that_were_changed_are_not_drawn_again(change: str) -> None:
    """Sequential(*trained[:2]) takes trained layers; it must not throw their weights away."""
    layer = gn.Affine(3, 2)
    if change == "assigned":
        layer.W.data = np.ones((3, 2))
    elif change == "loaded":
        layer.load_state_dict({"W": np.ones((3, 2)), "b": np.ones(2)})
    elif change == "written":
        layer.W.data[...] = 1
    elif change == "one element":
        layer.W.data[2, 1] += 1
    else:
        opt = gn.SGD(layer.parameters(), lr=0.1)
        layer(np.ones((4, 3))).sum().backward()
        opt.step()
    before = layer.state_dict()
    gn.Sequential(layer, gn.Tanh())
    gn.Sequential(layer)
    same_states(layer.state_dict(), before)


def test_the_same_seed_gives_the_same_model() -> None:
    def make() -> gn.MLP:
        return gn.MLP([4, 5, 2], batch_norm=True, dropout=0.5)

    gn.seed(5)
    first, second = make(), make()
    gn.seed(5)
    again = make()
    same_states(first.state_dict(), again.state_dict())
    assert first[3].seed == again[3].seed
    assert not np.array_equal(first[0].W.data, second[0].W.data)


@pytest.mark.parametrize("value", [-1, 2**64, 1.5, "1", None])
def test_bad_seeds(value: Any) -> None:
    with pytest.raises(ValueError, match=r"seed must be a whole number from 0 to 2\^64 - 1"):
        gn.seed(value)


# --- modes and places -----------------------------------------------------------------------------


def test_train_and_eval_reach_everything() -> None:
    model = gn.Sequential(gn.Sequential(gn.Dropout(0.5)), gn.BatchNorm(2))
    assert model.eval() is model
    assert not any(layer.training for _, layer in model.named_layers())
    assert model.train() is model
    assert all(layer.training for _, layer in model.named_layers())


def test_evaluating_restores_every_mode() -> None:
    model = gn.Sequential(gn.BatchNorm(2), gn.Sequential(gn.Dropout(0.5)), gn.ReLU())
    model[0].eval()
    with model.evaluating():
        assert not any(layer.training for _, layer in model.named_layers())
    modes = [layer.training for _, layer in model.named_layers()]
    assert modes == [False, True, True, True]
    assert model.training
    with pytest.raises(ZeroDivisionError), model.evaluating():
        _ = 1 / 0
    assert model.training


def test_to_moves_parameters_and_buffers(device: str) -> None:
    model = gn.MLP([2, 3, 1], batch_norm=True)
    assert model.device == "cpu"
    before = {name: to_host(a) for name, a in model.state_dict().items()}
    assert model.to(device) is model
    assert model.device == device
    assert {device_of(a) for a in model.state_dict().values()} == {device}
    same_states(model.state_dict(), before)
    assert {p.device for p in model.to("cpu").parameters()} == {"cpu"}
    assert gn.ReLU().device == "cpu"


@pytest.mark.parametrize("make", [gn.ReLU, lambda: gn.Affine(2, 2)])
def test_to_an_unknown_device(make: Any) -> None:
    with pytest.raises(ValueError, match='device must be "cpu" or "cuda", got \'gpu\''):
        make().to("gpu")


def test_a_model_and_an_input_of_two_devices(xp: Any, device: str) -> None:
    if xp is np:
        pytest.skip("there is one device only")
    model = gn.MLP([2, 3, 1]).to(device)
    with pytest.raises(gn.DeviceError, match=r"affine got arrays of two devices: \(4, 2\) on cpu"):
        model(np.ones((4, 2), np.float32))


# --- saving ---------------------------------------------------------------------------------------


def test_state_dict_names_and_copies(xp: Any, device: str) -> None:
    model = gn.MLP([2, 3, 1], batch_norm=True).to(device)
    state = model.state_dict()
    assert list(state) == [
        "0.W", "0.b", "1.gamma", "1.beta", "3.W", "3.b", "1.running_mean", "1.running_var",
    ]  # fmt: skip
    assert all(isinstance(a, xp.ndarray) for a in state.values())
    state["0.W"][...] = 9
    state["1.running_var"][...] = 9
    assert 9 not in to_host(model[0].W.data)
    assert 9 not in to_host(model[1].running_var)


@pytest.mark.parametrize("where", ["cpu", "same"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_state_dict_round_trip(device: str, dtype: Any, where: str) -> None:
    source = gn.MLP([2, 3, 1], batch_norm=True, dtype=dtype).to(device)
    source[1].running_mean += 1
    state = source.state_dict()
    if where == "cpu":
        state = {name: to_host(a) for name, a in state.items()}
    target = gn.MLP([2, 3, 1], batch_norm=True).to(device)
    buffers = [p.data for p in target.parameters()]
    target.load_state_dict(state)
    assert all(p.data is b for p, b in zip(target.parameters(), buffers, strict=True))
    same_states(
        target.state_dict(),
        {n: to_host(a).astype(np.float32) for n, a in source.state_dict().items()},
    )


def test_a_state_of_tensors_and_lists() -> None:
    layer = gn.Affine(1, 2)
    layer.load_state_dict({"W": gn.Tensor([[1.0, 2.0]]), "b": [3.0, 4.0]})
    same(layer.W.data, [[1, 2]])
    same(layer.b.data, [3, 4])


def test_a_state_that_does_not_fit_changes_nothing(device: str) -> None:
    model = gn.MLP([2, 3, 1], batch_norm=True).to(device)
    before = model.state_dict()
    state = {name: a + 1 for name, a in model.state_dict().items()}
    del state["0.b"], state["1.running_mean"]
    state |= {"0.W": np.ones((3, 2)), "7.W": np.ones(2)}
    with pytest.raises(ValueError, match="does not fit the model") as caught:
        model.load_state_dict(state)
    for part in (
        "missing: 0.b",
        "missing: 1.running_mean",
        "unexpected: 7.W",
        "0.W has shape (2, 3), state has (3, 2)",
    ):
        assert part in str(caught.value)
    same_states(model.state_dict(), before)
    with pytest.raises(ValueError, match=r"0\.W has shape"):
        model.load_state_dict(state, strict=False)
    same_states(model.state_dict(), before)
    state["0.W"] = np.array([["a"] * 3] * 2)
    with pytest.raises(ValueError, match=r"0\.W holds <U1"):
        model.load_state_dict(state, strict=False)
    same_states(model.state_dict(), before)


def test_loading_a_part() -> None:
    model = gn.MLP([2, 3, 1])
    before = model.state_dict()
    model.load_state_dict({"0.b": np.full(3, 5.0), "other": np.ones(2)}, strict=False)
    same(model[0].b.data, np.full(3, 5.0))
    same(model[0].W.data, before["0.W"])


@pytest.mark.parametrize("way", ["deepcopy", "pickle"])
def test_copies_of_a_model_are_independent(way: str) -> None:
    model = gn.MLP([2, 3, 1], batch_norm=True, dropout=0.5)
    opt = gn.SGD(model.parameters(), lr=0.1)
    x = numbers(np, 4, 2, dtype=np.float32)
    model.forward(x)
    model(x).sum().backward()
    twin = copy.deepcopy(model) if way == "deepcopy" else pickle.loads(pickle.dumps(model))
    same_states(twin.state_dict(), model.state_dict())
    before = twin.state_dict()
    opt.step()
    same_states(twin.state_dict(), before)
    assert not np.array_equal(twin[0].W.data, model[0].W.data)
    same(twin.eval()(x).data, twin(x).data)


def test_describe_and_build() -> None:
    for name, make in LAYERS.items():
        layer = make()
        again = build(describe(layer))
        assert type(again) is type(layer), name
        assert describe(again) == describe(layer)
        again.load_state_dict(layer.state_dict())
    with pytest.raises(ValueError, match=r"unknown layer kind 'Conv'; known: Affine, BatchNorm"):
        build({"kind": "Conv"})


# --- Rescale --------------------------------------------------------------------------------------


def test_rescale(device: str) -> None:
    layer = gn.Rescale(0.5)
    x = to_device(np.array([[2, 4], [200, 255]], np.uint8), device)
    y = layer(x)
    assert y.dtype == np.float32
    assert y.data.tolist() == [[1, 2], [100, 127.5]]
    inner = gn.Tensor(to_device(np.ones((2, 2)), device), requires_grad=True)
    layer(inner).sum().backward()
    assert inner.grad.tolist() == [[0.5, 0.5], [0.5, 0.5]]
    assert build(describe(layer)).config() == layer.config()


@pytest.mark.parametrize("scale", [np.nan, np.inf, "1", None, [1.0]])
def test_rescale_with_no_number(scale: Any) -> None:
    with pytest.raises(ValueError, match="scale must be a finite number"):
        gn.Rescale(scale)
