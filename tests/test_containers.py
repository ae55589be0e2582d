"""gpunet.containers: Sequential, MLP, the weights they draw, and a model from its description."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.backend import to_host
from gpunet.containers import build, describe
from gpunet.study.gradcheck import gradcheck
from tests.networks import F64, LAYERS, check, golden, numbers, same, same_states


@pytest.fixture(autouse=True)
def _seeded() -> None:
    gn.seed(1)


# --- Sequential and MLP ---------------------------------------------------------------------------


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
        (([4, 2], "mish"), r"activation must be one of relu, sigmoid, tanh.*'mish'"),
        (([4, 2], None), r"activation must be one of relu, sigmoid, tanh"),
        (([4, 3, 2], "relu", False, 1.5), r"must lie in \[0, 1\], got 1.5"),
        (([4, 2], "relu", False, -0.5), r"must lie in \[0, 1\], got -0.5"),
    ],
)
def test_bad_mlps(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gn.MLP(*arguments)


def test_repr_is_for_people() -> None:
    assert repr(gn.ReLU()) == "ReLU()"
    text = repr(gn.MLP([2, 3, 1]))
    assert text.splitlines()[0] == "MLP("
    assert "  0: Affine(in_features=2, out_features=3, bias=True, dtype='float32')" in text
    assert repr(gn.Sequential()) == "Sequential()"


def test_describe_and_build() -> None:
    for name, make in LAYERS.items():
        layer = make()
        again = build(describe(layer))
        assert type(again) is type(layer), name
        assert describe(again) == describe(layer)
        again.load_state_dict(layer.state_dict())
    with pytest.raises(ValueError, match=r"unknown layer kind 'Conv'; known: Affine, BatchNorm"):
        build({"kind": "Conv"})


# --- networks -------------------------------------------------------------------------------------


def test_a_network_with_its_loss_passes_gradcheck(xp: Any, device: str) -> None:
    model, loss = LAYERS["MLP"]().to(device), gn.SoftmaxWithLoss()
    x, t = numbers(xp, 5, 4), xp.asarray(np.array([0, 1, 1, 0, 1]))
    assert gradcheck(lambda x, *_: loss(model(x), t), [x, *model.parameters()])


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


# --- initial weights ------------------------------------------------------------------------------


def spread(layer: gn.Layer) -> float:
    assert isinstance(layer, gn.Affine)
    return float(np.var(to_host(layer.W.data)) * layer.in_features)


ACTIVATIONS = [(gn.ReLU, 2.0), (gn.Sigmoid, 1.0), (gn.Tanh, 1.0), (gn.GELU, 2.0)]


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


def test_a_lone_affine_is_drawn_for_relu() -> None:
    assert abs(spread(gn.Affine(200, 200)) / 2 - 1) < 4 * np.sqrt(2 / 40_000)
