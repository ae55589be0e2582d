"""gpunet.book.trainer: batches as the book draws them, accuracies once an epoch."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

from gpunet.book.multi_layer_net import MultiLayerNet
from gpunet.book.trainer import Trainer


def data(rows: int = 40) -> tuple[Any, Any]:
    draw = np.random.default_rng(0)
    t = draw.integers(0, 3, rows)
    return np.eye(3, 6)[t] + 0.1 * draw.standard_normal((rows, 6)), t


def trained(rows: int = 40, **options: Any) -> Trainer:
    np.random.seed(0)
    x, t = data(rows)
    network = MultiLayerNet(6, [8], 3)
    trainer = Trainer(network, x, t, x[:30], t[:30], **{"mini_batch_size": 10, **options})
    trainer.train()
    return trainer


def test_arguments() -> None:
    arguments = (
        *("network", "x_train", "t_train", "x_test", "t_test", "epochs", "mini_batch_size"),
        *("optimizer", "optimizer_param", "evaluate_sample_num_per_epoch", "verbose"),
    )
    assert tuple(inspect.signature(Trainer).parameters) == arguments


@pytest.mark.parametrize("name", ["SGD", "momentum", "Nesterov", "adagrad", "RMSprop", "adam"])
def test_it_trains(name: str) -> None:
    made = trained(epochs=5, optimizer=name, optimizer_param={"lr": 0.05}, verbose=False)
    assert type(made.optimizer).__name__.lower() == name.lower()
    assert made.optimizer.lr == 0.05
    assert len(made.train_loss_list) == made.max_iter == made.current_iter == 20
    assert len(made.train_acc_list) == len(made.test_acc_list) == made.current_epoch == 5
    assert made.train_loss_list[-1] < made.train_loss_list[0]


def test_batches_are_drawn_with_replacement_from_np_random() -> None:
    class Network:
        def __init__(self) -> None:
            self.params: dict[str, Any] = {}

        def gradient(self, x: Any, t: Any) -> dict[str, Any]:
            self.seen = t
            return {}

        def loss(self, x: Any, t: Any) -> float:
            return 0.0

        def accuracy(self, x: Any, t: Any) -> float:
            return len(x)

    x, t = np.zeros((40, 2)), np.arange(40)
    network = Network()
    options = {"mini_batch_size": 10, "evaluate_sample_num_per_epoch": 7, "verbose": False}
    trainer = Trainer(network, x, t, x, t, **options)
    np.random.seed(5)
    trainer.train_step()
    np.random.seed(5)
    assert (network.seen == np.random.choice(40, 10)).all()
    assert trainer.train_acc_list == [7]


def test_an_epoch_of_a_broken_number_of_batches_is_evaluated_too() -> None:
    """The book's condition is met only once there."""
    made = trained(rows=45, epochs=4, verbose=False)
    assert made.iter_per_epoch == 4.5
    assert (made.max_iter, len(made.test_acc_list)) == (18, 4)


def test_what_it_prints(capsys: pytest.CaptureFixture[str]) -> None:
    made = trained(epochs=1)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"train loss:{made.train_loss_list[0]}"
    first = f"=== epoch:1, train acc:{made.train_acc_list[0]}, test acc:{made.test_acc_list[0]} ==="
    assert lines[1] == first
    assert lines[-2] == "=============== Final Test Accuracy ==============="
    assert lines[-1].startswith("test acc:")


def test_another_optimizer_is_named() -> None:
    with pytest.raises(ValueError, match="sgd, momentum, nesterov, adagrad, rmsprop, adam, got"):
        trained(optimizer="lion")
