"""from_torch and to_torch; where torch is not installed, over stand-ins for its modules."""

import numpy as np
import pytest

import gpunet as gn


class Module:
    """What from_torch reads of a torch module."""

    def __init__(self, **attributes):
        vars(self).update(attributes)

    def named_children(self):
        return [(str(k), m) for k, m in enumerate(vars(self).get("inside", ()))]

    def state_dict(self):
        own = {k: v for k, v in vars(self).items() if isinstance(v, np.ndarray)}
        for name, module in self.named_children():
            own |= {f"{name}.{k}": v for k, v in module.state_dict().items()}
        return own


class Sequential(Module):
    pass


class Linear(Module):
    pass


class BatchNorm1d(Module):
    pass


class ReLU(Module):
    pass


class LeakyReLU(Module):
    pass


class ELU(Module):
    pass


class GELU(Module):
    pass


class Softplus(Module):
    pass


class LSTM(Module):
    pass


def linear(n, m, rng):
    weight, bias = rng.normal(size=(m, n)), rng.normal(size=m)
    return Linear(in_features=n, out_features=m, weight=weight, bias=bias)


def network():
    rng = np.random.default_rng(0)
    norm = BatchNorm1d(
        num_features=4,
        momentum=0.2,
        eps=1e-3,
        affine=True,
        track_running_stats=True,
        weight=rng.normal(size=4),
        bias=rng.normal(size=4),
        running_mean=rng.normal(size=4),
        running_var=rng.random(4),
        num_batches_tracked=np.array(7),
    )
    return Sequential(inside=[linear(3, 4, rng), norm, ReLU(), linear(4, 2, rng)])


def by_hand(module, x):
    first, norm, _, last = module.inside
    z = x @ first.weight.T + first.bias
    z = (z - norm.running_mean) / np.sqrt(norm.running_var + norm.eps) * norm.weight + norm.bias
    return np.maximum(z, 0) @ last.weight.T + last.bias


def outputs(model, x):
    with model.evaluating(), gn.no_grad():
        return model(x).data


x = np.random.default_rng(1).normal(size=(6, 3))


def test_a_module_becomes_a_model():
    module = network()
    model = gn.from_torch(module)
    assert [type(k).__name__ for k in model] == ["Affine", "BatchNorm", "ReLU", "Affine"]
    assert model[1].momentum == 0.2
    assert model.device == "cpu"
    np.testing.assert_allclose(outputs(model, x), by_hand(module, x), rtol=1e-12)


def test_activations_come_with_their_settings():
    inside = [LeakyReLU(negative_slope=0.2), ELU(alpha=2.0), GELU(approximate="tanh")]
    model = gn.from_torch(Sequential(inside=[*inside, Softplus(beta=1, threshold=20)]))
    assert [layer.config() for layer in model] == [
        {"slope": 0.2}, {"alpha": 2.0}, {"approximate": "tanh"}, {}
    ]  # fmt: skip
    with pytest.raises(NotImplementedError, match="beta 1"):
        gn.from_torch(Sequential(inside=[Softplus(beta=2)]))


def test_a_state_dict_fills_a_model():
    module = network()
    model = gn.MLP([3, 4, 2], batch_norm=True, dtype="float64")
    model[1].eps = 1e-3
    assert gn.from_torch(module.state_dict(), model) is model
    np.testing.assert_allclose(outputs(model, x), by_hand(module, x), rtol=1e-12)


@pytest.mark.parametrize(
    ("source", "model", "error", "word"),
    [
        (lambda: network().state_dict(), None, TypeError, "tells no activations"),
        (lambda: LSTM(), None, NotImplementedError, "is a LSTM"),
        (
            lambda: Sequential(inside=[Sequential(inside=[ReLU(), LSTM()])]),
            *(None, NotImplementedError, "0.1 is a LSTM"),
        ),
        (network, gn.MLP([3, 2]), ValueError, "3 layers with arrays .0, 1, 3., the model 1"),
        (network, gn.MLP([3, 5, 2], batch_norm=True), ValueError, "shape"),
        (network, gn.MLP([3, 4, 4, 2]), ValueError, "torch's 1 has weight, bias, running_mean"),
    ],
)
def test_what_does_not_fit_changes_nothing(source, model, error, word):
    before = model.state_dict() if model else {}
    with pytest.raises(error, match=word):
        gn.from_torch(source(), model)
    if model:
        after = model.state_dict()
        assert all(np.array_equal(before[k], after[k]) for k in before)


def test_against_torch():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    model = gn.MLP([3, 8, 4, 2], "tanh", batch_norm=True, dropout=0.25)
    model(np.random.default_rng(0).normal(2, 3, (30, 3)))
    module = model.eval() and gn.to_torch(model)
    assert not module.training
    given = torch.from_numpy(x.astype(np.float32))
    with torch.no_grad():
        y = module(given).numpy()
    np.testing.assert_allclose(y, outputs(model, x), rtol=1e-5, atol=1e-6)
    back = gn.from_torch(module)
    np.testing.assert_array_equal(outputs(back, x), outputs(model, x))
    with pytest.raises(NotImplementedError, match="layer 0 is a Rescale"):
        gn.to_torch(gn.Sequential(gn.Rescale(2)))
