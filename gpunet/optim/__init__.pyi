# What gpunet/optim/__init__.py finds at run time; made by python -m tests.tools.make_stub
from gpunet.optim.adabelief import AdaBelief
from gpunet.optim.adadelta import AdaDelta
from gpunet.optim.adagrad import AdaGrad
from gpunet.optim.adam import Adam
from gpunet.optim.adamax import AdaMax
from gpunet.optim.adamw import AdamW
from gpunet.optim.amsgrad import AMSGrad
from gpunet.optim.base import Optimizer
from gpunet.optim.cocob import COCOB
from gpunet.optim.lion import Lion
from gpunet.optim.momentum import Momentum
from gpunet.optim.nadam import NAdam
from gpunet.optim.nesterov import Nesterov
from gpunet.optim.radam import RAdam
from gpunet.optim.rmsprop import RMSProp
from gpunet.optim.rprop import RProp
from gpunet.optim.sgd import SGD

OPTIMIZERS: dict[str, type[Optimizer]]

__all__ = [
    "COCOB",
    "OPTIMIZERS",
    "SGD",
    "AMSGrad",
    "AdaBelief",
    "AdaDelta",
    "AdaGrad",
    "AdaMax",
    "Adam",
    "AdamW",
    "Lion",
    "Momentum",
    "NAdam",
    "Nesterov",
    "Optimizer",
    "RAdam",
    "RMSProp",
    "RProp",
]
