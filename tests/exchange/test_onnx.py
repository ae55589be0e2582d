"""to_onnx: onnxruntime computes what the model does."""

import numpy as np
import pytest

import gpunet as gn
from gpunet.activation import ACTIVATIONS

onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


def run(path, x):
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(["y"], {"x": x})[0]


def outputs(model, x):
    with model.evaluating(), gn.no_grad():
        return model(x).data


def trained(model, features):
    """The model after some batches: statistics and shifts that are not those it started with."""
    rng = np.random.default_rng(0)
    for p in model.parameters():
        p.data = p.data + rng.normal(0, 0.3, p.shape)
    for _ in range(5):
        model(rng.normal(1, 2, (20, features)))
    return model


@pytest.mark.parametrize(
    "layer", [gn.LeakyReLU(0.3), gn.ELU(0.7), gn.GELU("tanh")], ids=lambda k: k.formula
)
def test_the_settings_of_activations(tmp_path, layer):
    gn.seed(1)
    model = gn.Sequential(gn.Affine(5, 8), layer, gn.Affine(8, 3))
    gn.to_onnx(model, tmp_path / "m.onnx")
    x = 3 * np.random.default_rng(2).normal(size=(7, 5)).astype(np.float32)
    np.testing.assert_allclose(run(tmp_path / "m.onnx", x), outputs(model, x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [1, 7])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_network_in_evaluation_mode(tmp_path, activation, rows, dtype):
    gn.seed(1)
    model = gn.MLP([5, 8, 6, 3], activation, batch_norm=True, dropout=0.4, dtype=dtype)
    trained(model, 5)
    gn.to_onnx(model, tmp_path / "m.onnx")
    x = np.random.default_rng(2).normal(size=(rows, 5)).astype(dtype)
    if dtype == "float64" and activation in ("elu", "softplus", "gelu"):
        return  # to_onnx had it checked; onnxruntime has these in float32 alone
    y = run(tmp_path / "m.onnx", x)
    assert y.dtype == dtype
    np.testing.assert_allclose(y, outputs(model, x), rtol=1e-6, atol=1e-6)
    assert model.training


@pytest.mark.parametrize(
    "layer",
    [
        gn.Affine(4, 2),
        gn.Affine(4, 2, bias=False),
        gn.BatchNorm(4, eps=0.5),
        gn.Sequential(gn.Affine(4, 4), gn.Sequential(gn.Tanh(), gn.BatchNorm(4))),
        gn.Sequential(gn.Rescale(0.25), gn.Affine(4, 3)),
        gn.Sequential(gn.Dropout(0.5), gn.Affine(4, 3), gn.Sigmoid()),
    ],
    ids=repr,
)
def test_layers(tmp_path, layer):
    gn.to_onnx(trained(layer, 4), tmp_path / "m.onnx")
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    np.testing.assert_allclose(run(tmp_path / "m.onnx", x), outputs(layer, x), rtol=1e-6, atol=1e-6)


def test_bytes_and_probabilities(tmp_path):
    model = gn.Sequential(gn.Rescale(1 / 255), gn.MLP([6, 5, 4]))
    gn.to_onnx(model, tmp_path / "m.onnx", softmax=True, dtype=np.uint8)
    x = np.random.default_rng(0).integers(0, 256, (9, 6), dtype=np.uint8)
    p = run(tmp_path / "m.onnx", x)
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-6)
    expected = gn.functional.softmax(outputs(model, x)).data
    np.testing.assert_allclose(p, expected, rtol=1e-6, atol=1e-6)


def test_whole_numbers_for_a_model_of_floats(tmp_path):
    model = gn.MLP([3, 2])
    gn.to_onnx(model, tmp_path / "m.onnx", dtype=np.int64)
    x = np.arange(6).reshape(2, 3)
    np.testing.assert_allclose(run(tmp_path / "m.onnx", x), outputs(model, x), rtol=1e-6)


def test_what_it_cannot_write_leaves_the_file_alone(tmp_path):
    class Twice(gn.Layer):
        def call(self, x):
            return 2 * x

    path = tmp_path / "m.onnx"
    path.write_text("old")
    with pytest.raises(NotImplementedError, match="layer 1 is a Twice"):
        gn.to_onnx(gn.Sequential(gn.Affine(2, 2), Twice()), path)
    with pytest.raises(ValueError, match="how many features"):
        gn.to_onnx(gn.ReLU(), path)
    assert path.read_text() == "old"


def test_export(gpunet, tmp_path):
    model = gn.MLP([3, 4, 2])
    gn.save(model, tmp_path / "m.safetensors")
    result = gpunet("export", str(tmp_path / "m.safetensors"), str(tmp_path / "m.onnx"))
    assert result.code == 0, result.err
    x = np.ones((2, 3), np.float32)
    np.testing.assert_allclose(run(tmp_path / "m.onnx", x), outputs(model, x), rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [(("no.safetensors", "m.onnx"), "no model file"), (("m", "m.txt"), "must end in .onnx")],
)
def test_export_says_what_is_wrong(gpunet, tmp_path, arguments, word):
    result = gpunet("export", *arguments)
    assert result.code == 2
    assert word in result.err
