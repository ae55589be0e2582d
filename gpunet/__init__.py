"""gpunet: small networks trained fast on CuPy arrays, with NumPy where there is no GPU.

import gpunet as gn

model = gn.MLP([64, 100, 10])
loss_fn = gn.SoftmaxWithLoss()
opt = gn.Adam(model.parameters(), lr=1e-3)
loss = loss_fn(model(x), t)
opt.zero_grad(); loss.backward(); opt.step()
"""

from gpunet import starting

starting.end_in_one_line()

from gpunet import lazy, optim
from gpunet.optim import *

__version__ = "0.1.0"

# What editors and type checkers read is __init__.pyi; a test holds the two together.
_HOMES = {
    "activation": "ELU GELU LeakyReLU ReLU SiLU Sigmoid Softplus Tanh",
    "backend": "DeviceError has_gpu to_device",
    "containers": "MLP Sequential",
    "context": "no_grad",
    "ensemble.ensemble": "Ensemble",
    "exchange.onnx": "to_onnx",
    "exchange.sklearn": "from_sklearn",
    "exchange.torch": "from_torch to_torch",
    "fused.step": "Step",
    "precision": "matmul_precision",
    "initializers": "Glorot He LeCun Normal Xavier",
    "layer": "Layer",
    "layers": "Affine BatchNorm Dropout Embedding Rescale",
    "loss": (
        "Huber KLDivergence Loss MeanAbsoluteError MeanSquaredError SigmoidWithLoss SoftmaxWithLoss"
    ),
    "losses": (
        "huber kl_divergence mean_absolute_error mean_squared_error sigmoid_cross_entropy "
        "softmax_cross_entropy"
    ),
    "parameter": "Parameter",
    "predictor": "Predictor",
    "graphs": "capture",
    "rng": "seed",
    "saving": "ModelFileError load load_state save",
    "study.draw": "draw",
    "study.gradcheck": "GradcheckError gradcheck",
    "study.summary": "summary",
    "tensor": "Op Tensor op",
    "train": "Callback Checkpoint EarlyStopping History NonFiniteError StopAtLoss Trainer",
}
_MODULES = ("functional", "losses", "schedules")

__all__ = [*optim.__all__, *_MODULES, *" ".join(_HOMES.values()).split()]
__getattr__, __dir__ = lazy.attach("gpunet", _HOMES)
