"""What both estimators share: their settings, and a training from scikit-learn's point of view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from gpunet import checked, rng
from gpunet.backend import Array, DeviceError, array_module, device_of
from gpunet.containers import MLP
from gpunet.data.order import permutation
from gpunet.loss import Loss
from gpunet.optim import OPTIMIZERS, Optimizer
from gpunet.optim.declared import ONCE
from gpunet.sklearn.inputs import checked_x, counted
from gpunet.train.callbacks import Callback, EarlyStopping, Training
from gpunet.train.evaluation import outputs
from gpunet.train.history import History, Row
from gpunet.train.trainer import Trainer

SPLIT_EPOCH = 2**63  # an order that no epoch of a training has


@dataclass(eq=False, repr=False)
class MLPEstimator(BaseEstimator):
    """Settings of a network and its training; those of scikit-learn's name mean what they mean
    there.

    Args:
        hidden_layer_sizes: neurons of each hidden layer.
        activation: of the hidden layers; see `gpunet.MLP`.
        optimizer: a name of `gpunet.optim.OPTIMIZERS`, a class, a function of parameters, or an
            optimizer such as `gn.Adam(betas=(0.9, 0.99))`, whose settings are taken.
        lr: a number or a schedule; None is the optimizer's own.
        weight_decay: None is the optimizer's own.
        batch_size: rows a step; "auto" is 200, or all if there are fewer; None takes all.
        max_iter: epochs.
        early_stopping: hold out `validation_fraction` of the rows, stop when their loss has not
            fallen by more than `tol` for `n_iter_no_change` epochs, and keep the best epoch. False
            looks at the training loss, and keeps the last epoch.
        dropout, batch_norm: as for `gpunet.MLP`.
        random_state: of weights, dropout, shuffling and what is held out. None is another one each
            time; no generator of the program's (numpy.random, gpunet.seed) is touched but the one
            that is given.
        device: "auto" trains where X lies: NumPy on the CPU, CuPy on the GPU. "cuda" moves NumPy
            arrays there. What is predicted lies where its X lies.
        dtype: "auto" is X's float32 or float64, float64 for anything else.
        verbose: show a bar.
        warm_start: `fit` goes on with the network there is.
    """

    hidden_layer_sizes: int | Sequence[int] = (100,)
    activation: str = "relu"
    _: KW_ONLY
    optimizer: Any = "adam"
    lr: Any = None
    weight_decay: float | None = None
    batch_size: int | str | None = "auto"
    max_iter: int = 200
    tol: float = 1e-4
    n_iter_no_change: int = 10
    early_stopping: bool = False
    validation_fraction: float = 0.1
    dropout: float = 0.0
    batch_norm: bool = False
    random_state: Any = None
    device: str = "auto"
    dtype: Any = "auto"
    verbose: bool = False
    warm_start: bool = False

    stratified: ClassVar[bool] = False

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    # Of what was trained

    @property
    def history_(self) -> History:
        """A row for each epoch."""
        return self._trained().history

    @property
    def loss_curve_(self) -> list[float]:
        """The training loss of each epoch."""
        return self._trained().history["train_loss"]

    @property
    def loss_(self) -> float:
        """The training loss of the last epoch."""
        return self.loss_curve_[-1]

    @property
    def n_iter_(self) -> int:
        """Epochs trained."""
        return len(self._trained().history)

    def _trained(self) -> Trainer:
        if not hasattr(self, "model_"):
            name = type(self).__name__
            raise AttributeError(f"this {name} is not fitted yet; call fit(X, y) first")
        return self._trainer

    # Training

    def _begin(self, x: Array, outputs: int, loss: Loss) -> Trainer:
        """A trainer of a new network."""
        self._seed = _seed_of(self.random_state)
        hidden = self.hidden_layer_sizes
        sizes = list(hidden) if isinstance(hidden, (Sequence, np.ndarray)) else [hidden]
        dtype = x.dtype if isinstance(self.dtype, str) and self.dtype == "auto" else self.dtype
        sizes = [x.shape[1], *sizes, outputs]
        with rng.apart(self._seed):
            model = MLP(sizes, self.activation, self.batch_norm, self.dropout, dtype)
        model.to(self._place(x))
        optimizer = _optimizer(self.optimizer, model.parameters(), self.lr, self.weight_decay)
        return Trainer(model, loss, optimizer, progress=bool(self.verbose), resumable=False)

    def _place(self, x: Array) -> str:
        """The device to train on. DeviceError rather than a copy that nobody has asked for."""
        checked.one_of("auto", "cpu", "cuda")(self.device, "device")
        if self.device == "cpu" and device_of(x) == "cuda":
            raise DeviceError('X is on the GPU, and device="cpu"; give a NumPy array')
        return device_of(x) if self.device == "auto" else self.device

    def _train(
        self,
        trainer: Trainer,
        x: Array,
        t: Array,
        weight: Array | None,
        epochs: int | None,
        learnt: dict[str, Any],
    ) -> None:
        """Train for `max_iter` epochs, or until it stops by itself; or for so many epochs.

        learnt: attributes to set when there is a network to which they belong. KeyboardInterrupt
        after a Ctrl-C, which ends the training between two steps.
        """
        valid, trainer.callbacks = None, []
        weight, x, t = counted(weight, x, t)
        if epochs is None:
            checked.size(self.max_iter, "max_iter")
            patience = checked.size(self.n_iter_no_change, "n_iter_no_change")
            tol = checked.not_negative(self.tol, "tol")
            if self.early_stopping:
                train, held = self._split(x, t)
                valid = _rows(held, x, t, weight)
                x, t, *rest = _rows(train, x, t, weight)
                weight = rest[0] if rest else None
                trainer.callbacks = [EarlyStopping(patience, tol)]
            else:
                trainer.callbacks = [Plateau(patience, tol)]
        trainer.fit(
            (x, t, weight),
            valid,
            epochs=self.max_iter if epochs is None else epochs,
            batch_size=_batch_size(self.batch_size, len(x)),
            seed=self._seed,
        )
        trainer.callbacks = []
        self._trainer, self.model_ = trainer, trainer.model
        for name, value in learnt.items():
            setattr(self, name, value)
        if trainer.history.stopped == "interrupted":
            raise KeyboardInterrupt

    def _split(self, x: Array, t: Array) -> tuple[Array, Array]:
        """Numbers of the rows to train on, and of those held out, beside x: of each class its
        share.
        """
        checked.fraction(self.validation_fraction, "validation_fraction")
        n, xp = len(x), array_module(x)
        count = min(n - 1, max(1, round(n * self.validation_fraction)))
        if count < 1:
            raise ValueError(f"early_stopping needs 2 rows at least, X has {n}")
        order = xp.asarray(permutation(n, self._seed, SPLIT_EPOCH))
        if self.stratified:
            order = order[xp.argsort(xp.asarray(t)[order], kind="stable")]
        places = np.zeros(n, bool)  # of the rows held out, evenly spaced in that order
        places[((np.arange(count) + 0.5) * n / count).astype(np.int64)] = True
        held = xp.asarray(places)
        return order[~held], order[held]

    # Predicting

    def _outputs(self, x: Any) -> Array:
        """The network's outputs for rows x, where x lies."""
        check_is_fitted(self)
        x, model = checked_x(self, x), self.model_
        if device_of(x) == "cuda" and model.device == "cpu":
            raise DeviceError("X is on the GPU, and the network on the CPU; give a NumPy array")
        return outputs(model, x)


class Plateau(Callback):
    """Stop when the training loss has not fallen by more than `tol` for `patience` epochs."""

    def __init__(self, patience: int, tol: float) -> None:
        self.patience, self.tol = patience, tol
        self.best, self.waited = np.inf, 0

    def on_epoch(self, trainer: Training, row: Row) -> str | None:
        loss = row["train_loss"]
        self.waited = 0 if loss < self.best - self.tol else self.waited + 1
        self.best = min(self.best, loss)
        if self.waited >= self.patience:
            return f"the training loss fell by no more than {self.tol:g} in {self.patience} epochs"
        return None


def _rows(rows: Array, *arrays: Array | None) -> tuple[Array, ...]:
    return tuple(array[rows] for array in arrays if array is not None)


def _batch_size(given: int | str | None, rows: int) -> int | None:
    if isinstance(given, str):
        checked.one_of("auto")(given, "batch_size")
        return min(200, rows)
    return given


def _seed_of(random_state: Any) -> int:
    """A seed for one training. None never draws from numpy.random's own generator."""
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1, np.uint64)[0] >> 1)
    return int(check_random_state(random_state).randint(2**31))


def _optimizer(given: Any, parameters: Any, lr: Any, weight_decay: Any) -> Optimizer:
    """The setting `optimizer` as an optimizer of these parameters."""
    settings = {"lr": lr, "weight_decay": weight_decay}
    settings = {name: value for name, value in settings.items() if value is not None}
    if isinstance(given, Optimizer):
        own = {**given.defaults, **{name: getattr(given, name) for name in ONCE}}
        return type(given)(parameters, **own | settings)
    if isinstance(given, str):
        if given.lower() not in OPTIMIZERS:
            raise ValueError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {given!r}")
        given = OPTIMIZERS[given.lower()]
    if not callable(given):
        raise TypeError(f"optimizer must be a name, a class or an optimizer, got {given!r}")
    found = given(parameters, **settings)
    if not isinstance(found, Optimizer):
        raise TypeError(f"optimizer must make an Optimizer, made a {type(found).__name__}")
    return found
