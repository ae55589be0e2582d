"""Data sets: the bundled digits, IDX folders, CSV and npz files, splits and mini-batches.

Everything here is NumPy on the host; nothing knows of devices.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from gpunet.data.batches import batches
from gpunet.data.columns import Label
from gpunet.data.dataset import SHARES, Dataset, Shares, Split, split
from gpunet.data.digits import digits
from gpunet.data.errors import DataError, PathLike, fits, shown, unusable
from gpunet.data.frames import SUFFIX, load_frame, read_parquet
from gpunet.data.idx import is_set, load_idx, read_idx
from gpunet.data.npz import load_npz
from gpunet.data.order import permutation
from gpunet.data.tables import load_csv
from gpunet.data.targets import Target

__all__ = [
    "SHARES",
    "DataError",
    "Dataset",
    "Shares",
    "Split",
    "batches",
    "digits",
    "load",
    "load_csv",
    "load_frame",
    "load_idx",
    "load_npz",
    "permutation",
    "read_idx",
    "split",
]

_ACCEPTED = "'digits', a folder of IDX files, a .csv or an .npz"


@fits
def load(
    source: PathLike | Any,
    *,
    normalise: bool = True,
    target: Target = "auto",
    label: Label = None,
    shares: Shares = SHARES,
) -> Dataset:
    """The data set that `source` names: "digits", a folder of IDX files, a .csv, a .parquet or an
    .npz; or the one in a DataFrame.

    normalise: scale the features to train on (pixels to [0, 1], columns to mean 0 and deviation
    1), or leave them raw. target: "class" or "number" where the file leaves open whether whole
    numbers are labels or quantities; the digits have classes. label: a table's label column, its
    name in the header or its number, from 1; see `load_csv`. shares: what is cut off for validation
    and test where the files have no such parts.

    A folder named digits is ./digits. See `load_idx`, `load_csv`, `load_npz` and `digits` for
    what each yields. Raises DataError where there is no such thing, or it cannot be used.
    """
    options: Any = {"normalise": normalise, "target": target, "shares": shares}
    if hasattr(source, "columns"):
        return load_frame(source, label=label, **options)
    if not isinstance(source, (str, os.PathLike)):
        raise DataError(f"data: expected {_ACCEPTED}, found {shown(source)}; give a name or a path")
    suffix = Path(Path(source).name.removesuffix(".gz")).suffix.lower()
    if label is not None and (suffix not in (".csv", SUFFIX) or os.path.isdir(source)):
        found = shown(str(source))
        raise unusable("label", "a .csv, whose columns it chooses from", found, "leave it out")
    if source == "digits":
        return digits(normalise, shares)
    if os.path.isdir(source) or is_set(source):
        return load_idx(source, **options)
    if not os.path.exists(source):
        raise unusable(shown(str(source)), _ACCEPTED, "no such file or folder", "check the path")
    if suffix == SUFFIX:
        return load_frame(read_parquet(source), str(source), label=label, **options)
    if suffix not in (".csv", ".npz"):
        found = f"a file ending in {suffix!r}" if suffix else "a file without an ending"
        raise unusable(shown(str(source)), _ACCEPTED, found, "convert it to .csv or .npz")
    if suffix == ".npz":
        return load_npz(source, **options)
    return load_csv(source, label=label, **options)
