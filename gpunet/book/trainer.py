"""The book's Trainer: batches drawn with replacement, accuracies once an epoch."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gpunet.backend import Array
from gpunet.book import optimizer

__all__ = ["Trainer"]


@dataclass(eq=False, repr=False)
class Trainer:
    network: Any
    x_train: Array
    t_train: Array
    x_test: Array
    t_test: Array
    epochs: int = 20
    mini_batch_size: int = 100
    optimizer: Any = "SGD"
    optimizer_param: dict[str, Any] = field(default_factory=lambda: {"lr": 0.01})
    evaluate_sample_num_per_epoch: int | None = None
    verbose: bool = True

    def __post_init__(self) -> None:
        kinds = {kind.__name__.lower(): kind for kind in optimizer.OnDicts.__subclasses__()}
        if self.optimizer.lower() not in kinds:
            raise ValueError(f"optimizer: one of {', '.join(kinds)}, got {self.optimizer!r}")
        self.optimizer = kinds[self.optimizer.lower()](**self.optimizer_param)
        self.train_size, self.batch_size = len(self.x_train), self.mini_batch_size
        self.iter_per_epoch = max(self.train_size / self.batch_size, 1)
        self.max_iter = int(self.epochs * self.iter_per_epoch)
        self.current_iter, self.current_epoch = 0, 0
        self.train_loss_list: list[float] = []
        self.train_acc_list: list[float] = []
        self.test_acc_list: list[float] = []

    def train_step(self) -> None:
        rows = np.random.choice(self.train_size, self.batch_size)
        x, t = self.x_train[rows], self.t_train[rows]
        self.optimizer.update(self.network.params, self.network.gradient(x, t))
        self.train_loss_list.append(self.network.loss(x, t))
        self._say(f"train loss:{self.train_loss_list[-1]}")
        if self.current_iter % self.iter_per_epoch < 1:  # the first of an epoch
            self.current_epoch += 1
            some = slice(self.evaluate_sample_num_per_epoch)
            train_acc = self.network.accuracy(self.x_train[some], self.t_train[some])
            test_acc = self.network.accuracy(self.x_test[some], self.t_test[some])
            self.train_acc_list.append(train_acc)
            self.test_acc_list.append(test_acc)
            found = f"train acc:{train_acc}, test acc:{test_acc}"
            self._say(f"=== epoch:{self.current_epoch}, {found} ===")
        self.current_iter += 1

    def train(self) -> None:
        for _ in range(self.max_iter):
            self.train_step()
        test_acc = self.network.accuracy(self.x_test, self.t_test)
        self._say(f"=============== Final Test Accuracy ===============\ntest acc:{test_acc}")

    def _say(self, text: str) -> None:
        if self.verbose:
            print(text)
