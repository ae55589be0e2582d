"""Training: the loop, what watches it, and what it leaves behind."""

from gpunet.train.callbacks import Callback, EarlyStopping, StopAtLoss, Training
from gpunet.train.checkpoint import Checkpoint
from gpunet.train.history import History
from gpunet.train.nonfinite import NonFiniteError
from gpunet.train.trainer import Trainer

__all__ = [
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "History",
    "NonFiniteError",
    "StopAtLoss",
    "Trainer",
    "Training",
]
