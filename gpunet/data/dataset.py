"""What the loaders return: rows with their targets, in three fixed parts."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpunet.data.description import Description
from gpunet.data.errors import DataError
from gpunet.data.features import Feature
from gpunet.data.order import integer, permutation
from gpunet.data.scaling import Float64, mean_and_std, rescale

Array: TypeAlias = NDArray[Any]


class Shares(NamedTuple):
    """What is cut off for validation and for test where the files do not say: as `split` takes."""

    valid: float = 0.1
    test: float = 0.2


SHARES = Shares()

# Splitting uses an epoch that no training reaches, so that its order is not that of a first epoch.
_SPLIT_EPOCH = 2**64 - 1


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """Rows and their targets. An empty one is false: `data.valid or None`.

    x: (n, features), uint8 or floating. t: (n,) integer labels, or floating targets, (n,) or
    (n, outputs). Raises DataError where the shapes or dtypes are others.
    """

    x: Array
    t: Array

    def __post_init__(self) -> None:
        if self.x.ndim != 2 or not (self.x.dtype == np.uint8 or self.x.dtype.kind == "f"):
            raise DataError(
                "x must be (n, features) of uint8 or a floating type, "
                f"got {self.x.dtype} of shape {self.x.shape}"
            )
        if self.t.dtype.kind not in "iuf" or self.t.ndim not in (1, 2):
            raise DataError(
                "t must be (n,) integer labels or floating targets, (n,) or (n, outputs), "
                f"got {self.t.dtype} of shape {self.t.shape}"
            )
        if self.t.ndim == 2 and self.t.dtype.kind != "f":
            raise DataError(f"integer labels t must be (n,), got shape {self.t.shape}")
        if len(self.x) != len(self.t):
            raise DataError(f"x has {len(self.x)} rows but t has {len(self.t)}")

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        return f"Split(x {self.x.dtype} {self.x.shape}, t {self.t.dtype} {self.t.shape})"


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set in three parts, ready for training.

    classes: the name of each label 0..K-1, or None where the targets are numbers (regression).
    scale, shift: what was done to the features, x = (raw - shift) / scale: floats, or float64
    arrays (features,). shape: one sample's shape before it was made a row, (8, 8) for the digits.
    label, columns: what a table calls what is predicted, and what it is predicted from; header: all
    its columns. encoding: how each column becomes numbers, None where all are numbers.
    notes: what the user should know of how the data was read, in lines.
    target_scale, target_shift: t = (raw - target_shift) / target_scale, where targets are numbers
    that were scaled: a float, and a float64 array (outputs,).
    """

    name: str
    train: Split
    valid: Split
    test: Split
    classes: tuple[str, ...] | None
    scale: float | Float64 = 1.0
    shift: float | Float64 = 0.0
    shape: tuple[int, ...] | None = None
    label: str | None = None
    columns: tuple[str, ...] | None = None
    target_scale: float = 1.0
    target_shift: float | Float64 = 0.0
    header: tuple[str, ...] | None = None
    encoding: tuple[Feature, ...] | None = None
    notes: tuple[str, ...] = ()

    @property
    def features(self) -> int:
        """The width of a row of x."""
        return int(self.train.x.shape[1])

    @property
    def outputs(self) -> int:
        """What a model for it must put out: the number of classes, or of numbers in a target."""
        if self.classes is not None:
            return len(self.classes)
        return int(np.prod(self.train.t.shape[1:], dtype=np.int64))

    def prepare(self, raw: ArrayLike) -> NDArray[np.float32]:
        """New rows (n, features) on the training data's scale: (raw - shift) / scale, float32."""
        x: NDArray[np.float32] = rescale(np.asarray(raw), self.shift, self.scale)
        return x

    def rescaled(self, shift: float | Float64, scale: float | Float64) -> Dataset:
        """This data set with (x - shift) / scale, float32, for x. Raises DataError on overflow."""
        parts = []
        for part in (self.train, self.valid, self.test):
            x = rescale(part.x, shift, scale)
            if not np.isfinite(x).all():
                # Finite before: so far from the training rows that float32 cannot say how far.
                raise DataError(f"{self.name}: features overflow float32 once scaled; mend them")
            parts.append(Split(x, part.t))
        train, valid, test = parts
        return replace(
            self,
            train=train,
            valid=valid,
            test=test,
            scale=self.scale * scale,
            shift=self.shift + self.scale * shift,
        )

    def standardised(self) -> Dataset:
        """This data set with each feature's mean over the TRAINING rows 0 and its deviation 1.

        The other parts are scaled by the same numbers, for what is measured on them must not
        depend on them. A feature that is constant in training becomes 0 there.
        """
        return self.rescaled(*mean_and_std(self.train.x))

    def with_scaled_targets(self) -> Dataset:
        """This data set with targets of mean 0 and deviation 1 over the TRAINING rows, float32;
        itself if they are labels. Where there are several outputs one scale serves all, so that a
        mean squared error times target_scale ** 2 is the one of raw numbers.
        """
        t = self.train.t
        if self.classes is not None:
            return self
        shift, deviation = mean_and_std(t)
        scale = float(np.sqrt((deviation**2).mean())) if (t.min(0) < t.max(0)).any() else 1.0
        train, valid, test = (
            Split(part.x, ((part.t - shift) / scale).astype(np.float32))
            for part in (self.train, self.valid, self.test)
        )
        return replace(
            self,
            train=train,
            valid=valid,
            test=test,
            target_scale=self.target_scale * scale,
            target_shift=self.target_shift + self.target_scale * shift,
        )

    def description(self) -> Description:
        """What new rows need to be predicted, and the predictions to be read."""
        return Description(
            name=self.name,
            label=self.label,
            classes=self.classes,
            columns=self.columns,
            header=self.header,
            features=self.encoding,
            shape=self.shape,
            width=self.features,
            scale=self.scale,
            shift=self.shift,
            target_scale=self.target_scale,
            target_shift=np.broadcast_to(self.target_shift, (self.outputs,)).astype(np.float64),
        )

    def __repr__(self) -> str:
        kind = "regression" if self.classes is None else f"{self.outputs} classes"
        sizes = f"train {len(self.train)}, valid {len(self.valid)}, test {len(self.test)}"
        return f"Dataset({self.name!r}, {self.features} features, {kind}, {sizes})"


def split(
    x: Array,
    t: Array,
    valid: int | float = 0.1,
    test: int | float = 0.2,
    seed: int = 0,
    *,
    stratify: bool = False,
) -> tuple[Split, Split, Split]:
    """Shuffle rows and cut them into (train, valid, test), the same on every platform.

    valid, test: a share of the rows in [0, 1), rounded up so that no share but 0 is empty, or a
    number of rows if an int. The test rows depend on `test` and `seed` alone, not on `valid`.
    stratify: t are labels, of which each part gets its share; one row of every class at least stays
    in the training part, and the others are smaller where classes have no more to give. The
    arrays are copied.

    Raises ValueError or TypeError where valid, test or seed is out of range, DataError where x
    and t do not fit together (see Split) or no row is left for training.
    """
    rows = Split(x, t)
    n = len(rows)
    n_test, n_valid = _count("test", test, n), _count("valid", valid, n)
    if n_test + n_valid >= n:
        raise DataError(
            f"{n} rows leave none for training: validation takes {n_valid}, test {n_test}"
        )
    order = permutation(n, seed, _SPLIT_EPOCH)
    if stratify and n:
        parts = _alike(t[order], n_test, n_valid)
    else:
        parts = np.split(np.arange(n), [n_test, n_test + n_valid])
    held_out, validation, train = (Split(x[order[part]], t[order[part]]) for part in parts)
    return train, validation, held_out


def _alike(labels: Array, n_test: int, n_valid: int) -> list[Array]:
    """Places for test, validation and training: of each class the first, the next and the rest, in
    numbers as alike as whole numbers can be.
    """
    _, members = np.unique(labels, return_inverse=True)
    size = np.bincount(members)
    in_test = _shares(size, n_test, size - 1)
    in_valid = _shares(size, n_valid, size - 1 - in_test)
    by_class = np.argsort(members, kind="stable")
    rank = np.empty(len(labels), np.int64)  # of a row among those of its class
    rank[by_class] = np.arange(len(labels)) - np.repeat(np.cumsum(size) - size, size)
    tested, validated = in_test[members], (in_test + in_valid)[members]
    return [
        np.flatnonzero(rank < tested),
        np.flatnonzero((tested <= rank) & (rank < validated)),
        np.flatnonzero(validated <= rank),
    ]


def _shares(size: NDArray[np.int64], wanted: int, most: NDArray[np.int64]) -> NDArray[np.int64]:
    """`wanted` rows from classes of these sizes in proportion, no more than `most` from each: the
    whole parts, then one more each by the largest remainder.
    """
    taken: NDArray[np.int64] = np.minimum(size * wanted // size.sum(), most)
    first = np.argsort(-(size * wanted % size.sum()), kind="stable")
    while (missing := wanted - int(taken.sum())) > 0:
        able = first[(taken < most)[first]][:missing]
        if not len(able):
            break
        taken[able] += 1
    return taken


def _count(name: str, share: int | float, n: int) -> int:
    if not isinstance(share, float):
        return integer(name, share, 0)
    if not 0.0 <= share < 1.0:
        raise ValueError(f"{name} must be a share in [0, 1) or a number of rows, got {share}")
    # A share such as 0.07 of 100 rows is 7.000000000000001 in floating point; it means 7.
    return math.ceil(n * share - 1e-9 * n)
