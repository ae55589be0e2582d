"""A training in the book's manner, on whichever modules it is given: the book's own gave the
numbers in losses.json (run once, and kept), gpunet.book gives the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.data import digits

OPTIMIZERS = ("SGD", "Momentum", "AdaGrad", "RMSprop", "Adam")
NETWORKS: dict[str, dict[str, Any]] = {
    "plain": {},
    "sigmoid": {"activation": "sigmoid", "weight_init_std": "xavier"},
    "decay": {"weight_decay_lambda": 0.1, "weight_init_std": 0.1},
    "batchnorm": {"use_batchnorm": True, "weight_init_std": 0.05},
}


def losses(network_class: Any, optimizers: Any, iterations: int = 10) -> dict[str, list[float]]:
    """By network and optimizer the losses, and at the end an accuracy, in evaluation."""
    data = digits()
    found = {}
    for kind, options in NETWORKS.items():
        for name in OPTIMIZERS:
            np.random.seed(3)
            network = network_class(64, [20, 15], 10, **options)
            optimizer = getattr(optimizers, name)()
            found[f"{kind} {name}"] = numbers = []
            for _ in range(iterations):
                rows = np.random.choice(len(data.train.x), 32)
                x_batch, t_batch = data.train.x[rows], data.train.t[rows]
                optimizer.update(network.params, network.gradient(x_batch, t_batch))
                numbers.append(float(network.loss(x_batch, t_batch)))
            numbers.append(float(network.accuracy(data.test.x, data.test.t)))
    return found
