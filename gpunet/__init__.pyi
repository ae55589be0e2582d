"""The names that gpunet gives, for editors and type checkers."""

from gpunet import data as data
from gpunet import functional as functional
from gpunet import losses as losses
from gpunet import optim as optim
from gpunet import schedules as schedules
from gpunet import study as study
from gpunet import train as train
from gpunet.activation import (
    ELU as ELU,
)
from gpunet.activation import (
    GELU as GELU,
)
from gpunet.activation import (
    LeakyReLU as LeakyReLU,
)
from gpunet.activation import (
    ReLU as ReLU,
)
from gpunet.activation import (
    Sigmoid as Sigmoid,
)
from gpunet.activation import (
    SiLU as SiLU,
)
from gpunet.activation import (
    Softplus as Softplus,
)
from gpunet.activation import (
    Tanh as Tanh,
)
from gpunet.backend import DeviceError as DeviceError
from gpunet.backend import has_gpu as has_gpu
from gpunet.backend import to_device as to_device
from gpunet.containers import MLP as MLP
from gpunet.containers import Sequential as Sequential
from gpunet.context import no_grad as no_grad
from gpunet.ensemble.ensemble import Ensemble as Ensemble
from gpunet.exchange.onnx import to_onnx as to_onnx
from gpunet.exchange.sklearn import from_sklearn as from_sklearn
from gpunet.exchange.torch import from_torch as from_torch
from gpunet.exchange.torch import to_torch as to_torch
from gpunet.fused.step import Step as Step
from gpunet.graphs import capture as capture
from gpunet.initializers import (
    Glorot as Glorot,
)
from gpunet.initializers import (
    He as He,
)
from gpunet.initializers import (
    LeCun as LeCun,
)
from gpunet.initializers import (
    Normal as Normal,
)
from gpunet.initializers import (
    Xavier as Xavier,
)
from gpunet.layer import Layer as Layer
from gpunet.layers import (
    Affine as Affine,
)
from gpunet.layers import (
    BatchNorm as BatchNorm,
)
from gpunet.layers import (
    Dropout as Dropout,
)
from gpunet.layers import (
    Embedding as Embedding,
)
from gpunet.layers import (
    Rescale as Rescale,
)
from gpunet.loss import (
    Huber as Huber,
)
from gpunet.loss import (
    KLDivergence as KLDivergence,
)
from gpunet.loss import (
    Loss as Loss,
)
from gpunet.loss import (
    MeanAbsoluteError as MeanAbsoluteError,
)
from gpunet.loss import (
    MeanSquaredError as MeanSquaredError,
)
from gpunet.loss import (
    SigmoidWithLoss as SigmoidWithLoss,
)
from gpunet.loss import (
    SoftmaxWithLoss as SoftmaxWithLoss,
)
from gpunet.losses import (
    huber as huber,
)
from gpunet.losses import (
    kl_divergence as kl_divergence,
)
from gpunet.losses import (
    mean_absolute_error as mean_absolute_error,
)
from gpunet.losses import (
    mean_squared_error as mean_squared_error,
)
from gpunet.losses import (
    sigmoid_cross_entropy as sigmoid_cross_entropy,
)
from gpunet.losses import (
    softmax_cross_entropy as softmax_cross_entropy,
)
from gpunet.optim import *
from gpunet.parameter import Parameter as Parameter
from gpunet.precision import matmul_precision as matmul_precision
from gpunet.predictor import Predictor as Predictor
from gpunet.rng import seed as seed
from gpunet.saving import ModelFileError as ModelFileError
from gpunet.saving import load as load
from gpunet.saving import load_state as load_state
from gpunet.saving import save as save
from gpunet.study.draw import draw as draw
from gpunet.study.gradcheck import GradcheckError as GradcheckError
from gpunet.study.gradcheck import gradcheck as gradcheck
from gpunet.study.summary import summary as summary
from gpunet.tensor import Op as Op
from gpunet.tensor import Tensor as Tensor
from gpunet.tensor import op as op
from gpunet.train import (
    Callback as Callback,
)
from gpunet.train import (
    Checkpoint as Checkpoint,
)
from gpunet.train import (
    EarlyStopping as EarlyStopping,
)
from gpunet.train import (
    History as History,
)
from gpunet.train import (
    NonFiniteError as NonFiniteError,
)
from gpunet.train import (
    StopAtLoss as StopAtLoss,
)
from gpunet.train import (
    Trainer as Trainer,
)

__version__: str
