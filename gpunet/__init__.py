"""gpunet: small networks trained fast on CuPy arrays, with NumPy where there is no GPU.

import gpunet as gn

model = gn.MLP([64, 100, 10])
loss_fn = gn.SoftmaxWithLoss()
opt = gn.Adam(model.parameters(), lr=1e-3)
loss = loss_fn(model(x), t)
opt.zero_grad(); loss.backward(); opt.step()
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gpunet import functional, losses, schedules
from gpunet.backend import DeviceError, has_gpu, to_device
from gpunet.containers import MLP, Sequential
from gpunet.context import no_grad
from gpunet.gemm import matmul_precision
from gpunet.initializers import Glorot, He, LeCun, Normal, Xavier
from gpunet.layer import Layer
from gpunet.layers import Affine, BatchNorm, Dropout, ReLU, Rescale, Sigmoid, Tanh
from gpunet.loss import KLDivergence, Loss, MeanSquaredError, SigmoidWithLoss, SoftmaxWithLoss
from gpunet.losses import (
    kl_divergence,
    mean_squared_error,
    sigmoid_cross_entropy,
    softmax_cross_entropy,
)
from gpunet.optim import (
    COCOB,
    OPTIMIZERS,
    SGD,
    AdaBelief,
    AdaDelta,
    AdaGrad,
    Adam,
    AdaMax,
    AdamW,
    AMSGrad,
    Lion,
    Momentum,
    NAdam,
    Nesterov,
    Optimizer,
    RAdam,
    RMSProp,
    RProp,
)
from gpunet.parameter import Parameter
from gpunet.rng import seed
from gpunet.saving import ModelFileError, load, save
from gpunet.tensor import Op, Tensor, op

if TYPE_CHECKING:
    from gpunet.fused.step import Step
    from gpunet.replay import capture
    from gpunet.study.draw import draw
    from gpunet.study.gradcheck import GradcheckError, gradcheck
    from gpunet.study.summary import summary
    from gpunet.train import Callback, EarlyStopping, History, NonFiniteError, StopAtLoss, Trainer

__version__ = "0.1.0"

_LOADED_WHEN_ASKED_FOR = {
    "Callback": "gpunet.train",
    "EarlyStopping": "gpunet.train",
    "GradcheckError": "gpunet.study.gradcheck",
    "History": "gpunet.train",
    "NonFiniteError": "gpunet.train",
    "Step": "gpunet.fused.step",
    "StopAtLoss": "gpunet.train",
    "Trainer": "gpunet.train",
    "capture": "gpunet.replay",
    "draw": "gpunet.study.draw",
    "gradcheck": "gpunet.study.gradcheck",
    "summary": "gpunet.study.summary",
}
_PACKAGES = ("data", "fused", "study", "train")


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return import_module(f"gpunet.{name}")
    if name not in _LOADED_WHEN_ASKED_FOR:
        raise AttributeError(f"module 'gpunet' has no attribute {name!r}")
    return getattr(import_module(_LOADED_WHEN_ASKED_FOR[name]), name)


__all__ = [
    "COCOB",
    "MLP",
    "OPTIMIZERS",
    "SGD",
    "AMSGrad",
    "AdaBelief",
    "AdaDelta",
    "AdaGrad",
    "AdaMax",
    "Adam",
    "AdamW",
    "Affine",
    "BatchNorm",
    "Callback",
    "DeviceError",
    "Dropout",
    "EarlyStopping",
    "Glorot",
    "GradcheckError",
    "He",
    "History",
    "KLDivergence",
    "Layer",
    "LeCun",
    "Lion",
    "Loss",
    "MeanSquaredError",
    "ModelFileError",
    "Momentum",
    "NAdam",
    "Nesterov",
    "NonFiniteError",
    "Normal",
    "Op",
    "Optimizer",
    "Parameter",
    "RAdam",
    "RMSProp",
    "RProp",
    "ReLU",
    "Rescale",
    "Sequential",
    "Sigmoid",
    "SigmoidWithLoss",
    "SoftmaxWithLoss",
    "Step",
    "StopAtLoss",
    "Tanh",
    "Tensor",
    "Trainer",
    "Xavier",
    "capture",
    "draw",
    "functional",
    "gradcheck",
    "has_gpu",
    "kl_divergence",
    "load",
    "losses",
    "matmul_precision",
    "mean_squared_error",
    "no_grad",
    "op",
    "save",
    "schedules",
    "seed",
    "sigmoid_cross_entropy",
    "softmax_cross_entropy",
    "summary",
    "to_device",
]
