"""gpunet.book.layers: what each does, its attributes, on both devices."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.backend import to_host
from gpunet.book import layers


def draw(xp: Any, *shape: int, seed: int = 0) -> Any:
    return xp.asarray(np.random.default_rng(seed).standard_normal(shape))


def same(a: Any, b: Any, tolerance: float = 1e-12) -> None:
    np.testing.assert_allclose(to_host(a), to_host(b), rtol=tolerance, atol=tolerance)


def test_affine(xp: Any) -> None:
    W, b, x, dout = draw(xp, 6, 4), draw(xp, 4), draw(xp, 5, 6, seed=1), draw(xp, 5, 4, seed=2)
    layer = layers.Affine(W, b)
    assert layer.W is W
    assert layer.dW is None
    same(layer.forward(x), x @ W + b)
    same(layer.backward(dout), dout @ W.T)
    same(layer.dW, x.T @ dout)
    same(layer.db, dout.sum(axis=0))


def test_images_are_taken_as_rows(xp: Any) -> None:
    x, dout = draw(xp, 5, 1, 2, 3), draw(xp, 5, 4)
    affine = layers.Affine(draw(xp, 6, 4), draw(xp, 4))
    affine.forward(x)
    assert affine.backward(dout).shape == x.shape
    norm = layers.BatchNormalization(xp.ones(6), xp.zeros(6))
    flat = layers.BatchNormalization(xp.ones(6), xp.zeros(6))
    y = norm.forward(x)
    assert y.shape == x.shape
    same(y.reshape(5, 6), flat.forward(x.reshape(5, 6)))
    assert norm.backward(y).shape == x.shape
    drop = layers.Dropout(0.5)
    y = drop.forward(x)
    assert len({tuple(image.ravel() == 0) for image in to_host(y)}) > 1  # masks of their own
    assert drop.backward(y).shape == x.shape


def test_bytes_are_numbers_too(xp: Any) -> None:
    """load_mnist(normalize=False) gives uint8."""
    affine = layers.Affine(xp.ones((3, 2)), xp.zeros(2))
    same(affine.forward(xp.asarray([[1, 2, 255]], dtype=np.uint8)), [[258, 258]])
    affine.backward(xp.ones((1, 2)))
    same(affine.dW, [[1, 1], [2, 2], [255, 255]])


@pytest.mark.parametrize("kind", [layers.Relu, layers.Sigmoid])
def test_activations_leave_dout_as_it_is(kind: Any, xp: Any) -> None:
    x, dout = draw(xp, 3, 4), draw(xp, 3, 4, seed=1)
    kept, layer = dout.copy(), kind()
    y = layer.forward(x)
    dx = layer.backward(dout)
    same(dout, kept, 0)
    slope = x > 0 if kind is layers.Relu else y * (1 - y)
    same(dx, dout * slope)


def test_the_loss_has_the_books_delta_and_the_gradient_has_not(xp: Any) -> None:
    x, t = xp.asarray([[0.0, 60.0, 0.0], [1.0, 2.0, 3.0]]), xp.asarray([0, 2])
    layer = layers.SoftmaxWithLoss()
    loss = layer.forward(x, t)
    same(layer.y.sum(axis=1), [1, 1])
    same(loss, -np.log(to_host(layer.y)[[0, 1], [0, 2]] + 1e-7).mean())
    assert 8 < float(loss) < 9  # not 30
    same(layer.backward(1), (layer.y - xp.asarray([[1.0, 0, 0], [0, 0, 1]])) / 2)
    one_hot = layers.SoftmaxWithLoss()
    same(one_hot.forward(x, xp.eye(3)[t]), loss)
    same(one_hot.backward(), (layer.y - xp.eye(3)[t]) / 2)
    assert one_hot.loss is not None
    assert one_hot.t.shape == (2, 3)


def test_dropout_scales_afterwards(xp: Any) -> None:
    np.random.seed(0)
    layer, x = layers.Dropout(0.25), xp.ones((200, 100))
    y = to_host(layer.forward(x))
    assert set(np.round(y.ravel(), 12)) == {0.0, 1.0}
    assert y.mean() == pytest.approx(0.75, abs=0.01)
    same(layer.backward(x), y)
    assert (to_host(layer.forward(x)) != y).any()  # another mask each time
    same(layer.forward(x, train_flg=False), 0.75 * x)
    same(layer.backward(x), 0.75 * x)
    np.random.seed(0)
    same(layers.Dropout(0.25).forward(x), y)  # np.random.seed decides


def test_batch_normalization_keeps_the_books_statistics(xp: Any) -> None:
    x = draw(xp, 8, 3)
    layer = layers.BatchNormalization(xp.full(3, 2.0), xp.full(3, 0.5))
    y = layer.forward(x)
    mean, var = x.mean(axis=0), x.var(axis=0)
    same(y, 2 * (x - mean) / xp.sqrt(var + 1e-6) + 0.5)
    same(layer.running_mean, 0.1 * mean)
    same(layer.running_var, 0.1 * var)
    layer.forward(x)
    same(layer.running_var, 0.19 * var)
    evaluated = layer.forward(x, train_flg=False)
    same(layer.running_var, 0.19 * var)
    same(evaluated, 2 * (x - 0.19 * mean) / xp.sqrt(0.19 * var + 1e-6) + 0.5)


def test_batch_normalization_gradients(xp: Any) -> None:
    gamma, beta, x, dout = draw(xp, 3), draw(xp, 3), draw(xp, 8, 3, seed=1), draw(xp, 8, 3, seed=2)
    layer = layers.BatchNormalization(gamma, beta)
    layer.forward(x)
    dx = layer.backward(dout)
    tensors = [gn.Tensor(a, requires_grad=True) for a in (x, gamma, beta)]
    gn.functional.batch_norm(*tensors, eps=1e-6).backward(dout)
    for mine, tensor in zip((dx, layer.dgamma, layer.dbeta), tensors, strict=True):
        same(mine, tensor.grad)


def test_one_row_is_normalised_to_beta(xp: Any) -> None:
    layer = layers.BatchNormalization(xp.full(3, 2.0), xp.full(3, 0.5))
    x = draw(xp, 1, 3)
    same(layer.forward(x), xp.full((1, 3), 0.5))
    same(layer.running_mean, 0.1 * x[0])
    same(layer.running_var, xp.zeros(3))
    same(layer.backward(xp.ones((1, 3))), xp.zeros((1, 3)))
    same(layer.dgamma, xp.zeros(3))
    same(layer.dbeta, xp.ones(3))
    assert layer.forward(x, train_flg=False).shape == (1, 3)
    assert layer.backward(xp.ones((1, 3))).shape == (1, 3)


def test_given_running_statistics_and_momentum() -> None:
    mean, var, x = np.ones(2), np.full(2, 4.0), np.array([[3.0, 1.0], [5.0, 3.0]])
    layer = layers.BatchNormalization(np.ones(2), np.zeros(2), 0.5, mean, var)
    same(layer.forward(x, False), (x - 1) / np.sqrt(4 + 1e-6))
    layer.forward(x)
    same(layer.running_mean, [2.5, 1.5])
    same(layer.running_var, [2.5, 2.5])


def test_layers_are_copied_and_pickled_after_a_forward() -> None:
    for layer in (layers.Affine(np.ones((2, 2)), np.ones(2)), layers.Relu(), layers.Dropout()):
        layer.forward(np.ones((3, 2)))
        for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
            assert twin.forward(np.ones((3, 2))).shape == (3, 2)


def test_backward_needs_a_forward() -> None:
    with pytest.raises(RuntimeError, match=r"Affine\.backward needs a forward"):
        layers.Affine(np.ones((2, 2)), np.ones(2)).backward(np.ones((1, 2)))
