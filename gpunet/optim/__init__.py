"""The optimizers: one file each, and `base.py` with what they share."""

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

OPTIMIZERS: dict[str, type[Optimizer]] = {
    kind.__name__.lower(): kind
    for kind in (
        SGD,
        Momentum,
        Nesterov,
        AdaGrad,
        RMSProp,
        RProp,
        AdaDelta,
        Adam,
        AdaMax,
        COCOB,
        AdamW,
        AMSGrad,
        NAdam,
        RAdam,
        AdaBelief,
        Lion,
    )
}

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
