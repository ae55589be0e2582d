"""Tables as people have them: text, missing values, columns of no use.

scikit-learn's SimpleImputer and OneHotEncoder learn from the training rows what fills a column and
which categories it has. What they learned is kept as plain numbers and names in `Feature`s, which
treat the rows here and all that come later. Needs scikit-learn (the extra `tables`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from gpunet.data.assemble import Part, Place, gather
from gpunet.data.cells import Number
from gpunet.data.dataset import SHARES, Dataset, Shares, Split
from gpunet.data.errors import DataError, unusable
from gpunet.data.features import Cells, Feature, OnePlace, encode, plain_number
from gpunet.data.kinds import Column, inspect
from gpunet.data.matching import counted, listed
from gpunet.data.scaling import Float64, mean_and_std, rescale
from gpunet.data.targets import FEW, Target

MOST_VALUES = 50  # of a category that have a column each; the rarer ones share one
LEAST_ROWS = 2  # that a category needs for a column of its own
_BLOCK = 1 << 22  # numbers that are encoded at a time


@dataclass(frozen=True, eq=False)
class Table:
    """The columns (n,) of a table by their names, and how to read them; what is predicted, with the
    rows' numbers (n, 1) as its x.
    """

    name: str
    names: Sequence[str]
    columns: Sequence[Cells]
    target: Part
    place: Place
    number: Number = plain_number

    def placed(self, column: int) -> OnePlace:
        """What a row of that column is called."""
        return lambda row: self.place(row, column)


def learn(
    table: Table, *, normalise: bool = True, target: Target = "auto", shares: Shares = SHARES
) -> Dataset:
    """The data set of a table: kinds of columns by all rows, all that is learned of their values by
    the training rows.

    ImportError without scikit-learn; DataError where a column cannot be read, or none is left.
    """
    inspected = [
        inspect(name, cells, table.number, table.placed(k))
        for k, (name, cells) in enumerate(zip(table.names, table.columns, strict=True))
    ]
    parts = gather(table.name, table.target, target=target, shares=shares)
    train = _rows(parts.train)
    columns = [_judged(column, train) for column in inspected]
    kept = [column for column in columns if column.left_out is None]
    left = [f"{column.name} ({column.left_out})" for column in columns if column.left_out]
    if not kept:
        found = f"none of use: {listed(left)}"
        raise unusable(table.name, "columns to predict from", found, "give others")
    features = [_feature(column, train) for column in kept]
    shift, scale = _scales(kept, features, train) if normalise else (0.0, 1.0)

    def prepared(part: Split) -> Split:
        return Split(_prepared(kept, features, _rows(part), shift, scale), part.t)

    return replace(
        parts,
        train=prepared(parts.train),
        valid=prepared(parts.valid),
        test=prepared(parts.test),
        scale=scale,
        shift=shift,
        columns=tuple(column.name for column in kept),
        encoding=tuple(features),
        notes=tuple(_notes(kept, features, left)),
    )


def _rows(part: Split) -> NDArray[np.int64]:
    return part.x[:, 0].astype(np.int64)


def _judged(column: Column, train: NDArray[np.int64]) -> Column:
    """The column, left out if the training rows have nothing to learn from it."""
    if column.left_out is not None:
        return column
    cells = column.cells[train]
    missing = _missing(column, cells)
    values, counts = np.unique(cells[~missing], return_counts=True)
    why = None
    if not len(values):
        why = "nothing but missing values in the training rows"
    elif len(values) == 1 and not missing.any():
        why = "one value in every row"
    elif column.kind == "category" and _are_names(counts):
        why = "another text in almost every row"
    return replace(column, left_out=why)


def _are_names(counts: NDArray[np.int64]) -> bool:
    """Whether texts, each in so many rows, tell the rows apart more than they tell of them."""
    many = len(counts) > FEW and 2 * len(counts) > counts.sum()
    return bool(many or counts.max() < LEAST_ROWS)


def _missing(column: Column, cells: Cells) -> NDArray[np.bool_]:
    if column.kind == "category":
        return np.array([text is None for text in cells], bool)
    found: NDArray[np.bool_] = np.isnan(cells)
    return found


def _feature(column: Column, train: NDArray[np.int64]) -> Feature:
    """What scikit-learn's transformers learn from the training rows."""
    impute, preprocessing = _scikit_learn()
    cells = column.cells[train].reshape(-1, 1)
    text = column.kind == "category"
    imputer = impute.SimpleImputer(
        missing_values=None if text else np.nan,
        strategy="median" if column.kind == "number" else "most_frequent",
    ).fit(cells)
    flag = bool(_missing(column, cells[:, 0]).any())
    if not text:
        return Feature(column.name, column.kind, float(imputer.statistics_[0]), flag)
    encoder = preprocessing.OneHotEncoder(
        min_frequency=LEAST_ROWS,
        max_categories=MOST_VALUES + 1,
        handle_unknown="infrequent_if_exist",
    )
    encoder.fit(imputer.transform(cells))
    rare = encoder.infrequent_categories_[0]
    other = rare is not None and len(rare) > 0
    values = [v for v in encoder.categories_[0].tolist() if not (other and v in set(rare))]
    fill = str(imputer.statistics_[0])
    return Feature(column.name, "category", fill, flag, tuple(values), other)


def _scikit_learn() -> tuple[ModuleType, ModuleType]:
    """Its impute and preprocessing, or ImportError that says what to install."""
    from gpunet.extras import extra  # gpunet.data stands alone until this is asked for

    user = "a table with text or missing values"
    impute = extra("sklearn.impute", "tables", user)
    return impute, extra("sklearn.preprocessing", "tables", user)


def _scales(
    columns: list[Column], features: list[Feature], train: NDArray[np.int64]
) -> tuple[Float64, Float64]:
    """Mean and deviation of what are numbers; 0 and 1 for what is 0 or 1."""
    shifts, scales = [], []
    for column, feature in zip(columns, features, strict=True):
        shift, scale = np.zeros(len(feature.names)), np.ones(len(feature.names))
        if feature.kind == "number":
            cells = column.cells[train]
            values = np.where(np.isnan(cells), feature.fill, cells)
            shift[:1], scale[:1] = mean_and_std(values.reshape(-1, 1))
        shifts.append(shift)
        scales.append(scale)
    return np.concatenate(shifts), np.concatenate(scales)


def _prepared(
    columns: list[Column],
    features: list[Feature],
    rows: NDArray[np.int64],
    shift: float | Float64,
    scale: float | Float64,
) -> NDArray[np.float32]:
    """Encoded and scaled, some rows at a time: in float64 all of them may not fit into memory."""
    width = sum(len(feature.names) for feature in features)
    x = np.empty((len(rows), width), np.float32)
    step = max(1, _BLOCK // width)
    for k in range(0, len(rows), step):
        some = rows[k : k + step]
        cells = [column.cells[some] for column in columns]
        x[k : k + step] = rescale(encode(cells, features, float, str), shift, scale)
    if not np.isfinite(x).all():
        column = int(np.argmax(~np.isfinite(x).all(axis=0)))
        name = [name for feature in features for name in feature.names][column]
        raise DataError(f"column {name!r}: numbers that overflow float32 once scaled; mend them")
    return x


def _notes(columns: list[Column], features: list[Feature], left: list[str]) -> Iterator[str]:
    """What was filled, and what was left out."""
    filled = [
        f"{column.name} ({counted(int(_missing(column, column.cells).sum()))}, {feature.filling})"
        for column, feature in zip(columns, features, strict=True)
        if _missing(column, column.cells).any()
    ]
    if filled:
        yield f"filled where missing: {listed(filled)}"
    if left:
        yield f"left out: {listed(left)}"
