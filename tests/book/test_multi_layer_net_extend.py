"""gpunet.book's networks: names, gradients, devices."""

from __future__ import annotations

import inspect
import pickle
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.backend import device_of, to_device, to_host
from gpunet.book import optimizer
from gpunet.book.multi_layer_net import MultiLayerNet
from gpunet.book.multi_layer_net_extend import MultiLayerNetExtend


def batch(xp: Any = np, one_hot: bool = False) -> tuple[Any, Any]:
    draw = np.random.default_rng(0)
    t = draw.integers(0, 3, 12)
    x = draw.random((12, 6), np.float32)
    return xp.asarray(x), xp.asarray(np.eye(3)[t] if one_hot else t)


def test_names_and_arguments() -> None:
    network = MultiLayerNetExtend(6, [5, 4], 3, use_batchnorm=True, use_dropout=True)
    parameters = ("W1", "b1", "gamma1", "beta1", "W2", "b2", "gamma2", "beta2", "W3", "b3")
    assert sorted(network.params) == sorted(parameters)
    hidden = ("Affine", "BatchNorm", "Activation_function", "Dropout")
    assert list(network.layers) == [*(f"{n}{k}" for k in (1, 2) for n in hidden), "Affine3"]
    assert network.layers["Affine1"].W is network.params["W1"]
    arguments = (
        *("input_size", "hidden_size_list", "output_size", "activation", "weight_init_std"),
        *("weight_decay_lambda", "use_dropout", "dropout_ration", "use_batchnorm"),
    )
    assert tuple(inspect.signature(MultiLayerNetExtend).parameters) == arguments
    plain = MultiLayerNet(input_size=6, hidden_size_list=[5], output_size=3, weight_decay_lambda=0)
    assert set(plain.params) == {"W1", "b1", "W2", "b2"}
    assert set(plain.gradient(*batch())) == set(plain.params)


@pytest.mark.parametrize(
    ("given", "std"),
    [("relu", 2), ("He", 2), ("sigmoid", 1), ("xavier", 1), (0.01, None)],
)
def test_initial_weights(given: Any, std: float | None) -> None:
    np.random.seed(0)
    expected = np.random.randn(400, 50) * (0.01 if std is None else np.sqrt(std / 400))
    np.random.seed(0)
    network = MultiLayerNet(400, [50], 3, weight_init_std=given)
    np.testing.assert_allclose(network.params["W1"], expected, rtol=1e-15)


def test_bad_settings_are_named() -> None:
    with pytest.raises(ValueError, match='activation must be "relu" or "sigmoid", got \'tanh\''):
        MultiLayerNet(6, [5], 3, activation="tanh")
    with pytest.raises(ValueError, match="weight_init_std must be"):
        MultiLayerNet(6, [5], 3, weight_init_std="lecun")


@pytest.mark.parametrize("one_hot", [False, True])
@pytest.mark.parametrize(
    "options",
    [{}, {"weight_decay_lambda": 0.5}, {"use_batchnorm": True, "activation": "sigmoid"}],
    ids=str,
)
def test_gradients_are_those_by_differences(options: Any, one_hot: bool) -> None:
    np.random.seed(0)
    network, (x, t) = MultiLayerNetExtend(6, [5, 4], 3, **options), batch(one_hot=one_hot)
    backprop, numerical = network.gradient(x, t), network.numerical_gradient(x, t)
    assert backprop.keys() == numerical.keys() == network.params.keys()
    for name in backprop:
        np.testing.assert_allclose(backprop[name], numerical[name], rtol=1e-5, atol=1e-7)


def test_loss_and_accuracy_are_numbers() -> None:
    network, (x, t) = MultiLayerNet(6, [5], 3), batch()
    assert type(network.loss(x, t)) is float
    assert network.accuracy(x, t) == network.accuracy(x, np.eye(3)[t])


def test_an_array_put_into_params_is_the_layers() -> None:
    network, (x, t) = MultiLayerNet(6, [5], 3), batch()
    network.params["W2"] = np.zeros((5, 3))
    network.params["b2"] = np.zeros(3)
    assert network.loss(x, t) == pytest.approx(np.log(3), abs=1e-6)


def test_a_network_is_pickled_after_a_step() -> None:
    network, (x, t) = MultiLayerNetExtend(6, [5], 3, use_batchnorm=True), batch()
    network.gradient(x, t)
    twin = pickle.loads(pickle.dumps(network))
    assert twin.loss(x, t) == network.loss(x, t)
    optimizer.SGD(0.1).update(twin.params, twin.gradient(x, t))
    assert twin.loss(x, t) != network.loss(x, t)


def steps(device: str, monkeypatch: pytest.MonkeyPatch, x: Any, t: Any) -> list[float]:
    monkeypatch.setenv("GPUNET_BOOK_DEVICE", device)
    np.random.seed(0)
    network = MultiLayerNetExtend(6, [5, 4], 3, use_batchnorm=True, use_dropout=True)
    assert {device_of(a) for a in network.params.values()} == {device}
    adam, found = optimizer.Adam(lr=0.1), []
    for _ in range(4):
        adam.update(network.params, network.gradient(x, t))
        found.append(network.loss(x, t))
    return [*found, network.accuracy(x, t)]


@pytest.mark.parametrize("where", ["cpu", "cuda"])
def test_a_program_on_a_gpu(where: str, monkeypatch: pytest.MonkeyPatch, sim: Any) -> None:
    """With batches on either device: the network brings them where its weights are."""
    x, t = batch()
    expected = steps("cpu", monkeypatch, x, t)
    found = steps("cuda", monkeypatch, to_device(x, where), to_device(t, where))
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_weights_on_the_cpu_refuse_a_gpus_batch(sim: Any) -> None:
    network, (x, t) = MultiLayerNet(6, [5], 3), batch(sim)
    with pytest.raises(gn.DeviceError, match="two devices"):
        network.loss(x, t)
    network.params = {name: sim.asarray(array) for name, array in network.params.items()}
    assert {device_of(g) for g in network.gradient(x, t).values()} == {"cuda"}
    assert to_host(network.predict(x)).shape == (12, 3)
