"""What several models say together: the mean of their predictions, or what most of them say."""

from __future__ import annotations

import numpy as np

from gpunet.activations import sigmoid
from gpunet.backend import Array, array_module
from gpunet.context import no_grad
from gpunet.functional import softmax
from gpunet.loss import KLDivergence, Loss, Regression, SigmoidWithLoss, SoftmaxWithLoss


def average(outputs: Array, loss: Loss) -> Array:
    """The mean over the models of outputs (models, rows, outputs): of the probabilities where the
    loss makes some of them (Lakshminarayanan et al. 2017, section 2.4), else of the numbers.
    """
    with no_grad():
        if isinstance(loss, (SoftmaxWithLoss, KLDivergence)):
            outputs = softmax(outputs).data
        elif isinstance(loss, SigmoidWithLoss):
            outputs = sigmoid(outputs).data
    mean: Array = outputs.mean(axis=0)
    return mean


def vote(outputs: Array, loss: Loss) -> Array:
    """The class of each row that most models take for the likeliest, int64 (rows,); of several
    that of the larger mean. ValueError where there are no classes.
    """
    if isinstance(loss, (Regression, SigmoidWithLoss)) or outputs.shape[-1] == 1:
        raise ValueError(f"{type(loss).__name__} has no classes to vote for; see average(x)")
    xp = array_module(outputs)
    classes = xp.arange(outputs.shape[-1])
    votes = (outputs.argmax(axis=-1)[..., None] == classes).sum(axis=0)
    most = votes == votes.max(axis=-1, keepdims=True)
    label: Array = xp.where(most, average(outputs, loss), -np.inf).argmax(axis=-1)
    return label
