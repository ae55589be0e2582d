"""scikit-learn's MLPClassifier: `partial_fit` on a batch is one update; no BatchNorm or Dropout."""

from __future__ import annotations

import numpy as np
import sklearn
from sklearn.neural_network import MLPClassifier

from benchmarks.peers.base import MOMENTUM, Make, Training
from benchmarks.workloads import Task, Workload

VERSIONS = {"scikit-learn": sklearn.__version__}


class Classifier(Training):
    def __init__(self, task: Task) -> None:
        super().__init__(task)
        w = task.workload
        momentum = MOMENTUM if w.optimizer == "momentum" else 0.0
        self.model = MLPClassifier(
            hidden_layer_sizes=w.sizes[1:-1],
            solver="adam" if w.optimizer == "adam" else "sgd",
            learning_rate_init=w.lr,
            momentum=momentum,
            nesterovs_momentum=False,
            alpha=0.0,
            batch_size=w.batch,
            shuffle=False,
        )
        classes = np.arange(w.sizes[-1])
        self.model.partial_fit(self.x[: w.batch], self.t[: w.batch], classes=classes)
        self._begin(task.start)

    def _begin(self, weights: list[np.ndarray]) -> None:
        """Forget the first update, which only made the arrays."""
        for W, b, begin in zip(self.model.coefs_, self.model.intercepts_, weights, strict=True):
            W[...], b[...] = begin, 0
        del self.model._optimizer

    def update(self, x: np.ndarray, t: np.ndarray) -> float:
        self.model.partial_fit(x, t)
        return self.model.loss_


def peers(workload: Workload, device: str) -> dict[str, Make]:
    plain = workload.sizes and not (workload.batch_norm or workload.dropout)
    return {"scikit-learn": Classifier} if plain and device == "cpu" else {}
