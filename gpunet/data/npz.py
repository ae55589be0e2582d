"""npz files: arrays of features and targets, as numpy.savez writes them."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from gpunet.data.assemble import Part, assemble
from gpunet.data.dataset import SHARES, Array, Dataset, Shares
from gpunet.data.errors import PathLike, read_bytes, room, unusable
from gpunet.data.targets import Target

X, T = ("x", "X"), ("t", "T", "y", "Y")
WHOLE, TRAIN, VALID, TEST = ("",), ("_train",), ("_valid", "_val"), ("_test",)


def load_npz(
    path: PathLike, *, normalise: bool = True, target: Target = "auto", shares: Shares = SHARES
) -> Dataset:
    """The data set in an npz file, one sample a row of x, with its targets t (or y).

    Keys: x and t, to be cut by `split` as in `load_csv`; or x_train and t_train, with x_test and
    t_test, and x_valid and t_valid, to keep the parts that the file has: what it lacks is cut
    from train, by `shares`. y stands for t, X and Y for x and t, _val for _valid. Other keys are
    not read.
    x: numbers (n, features), or of more axes, which are made one. uint8 images (n, height, width)
    become float32 in [0, 1]; all else is standardised, unless `normalise` is off. t: (n,) or
    (n, outputs); see `targets`. Nothing is unpickled.

    Raises DataError where keys are missing or not clear, an array is damaged or holds objects, or
    the arrays do not fit together.
    """
    arrays = Arrays(path, read_bytes(path))
    whole, train = arrays.part(WHOLE), arrays.part(TRAIN)
    if (whole is None) == (train is None):
        raise unusable(
            path,
            "either x and t, or x_train and t_train (y for t will do)",
            f"the keys {arrays.keys}",
            "rename the arrays",
        )
    valid, test = arrays.part(VALID), arrays.part(TEST)
    if whole is not None and (valid is not None or test is not None):
        raise unusable(
            path, "x_train beside x_valid or x_test", f"the keys {arrays.keys}", "rename the arrays"
        )
    first = whole if whole is not None else train
    assert first is not None  # exactly one of them is
    name = Path(path).stem
    options: Any = {"normalise": normalise, "target": target, "shares": shares}
    found = assemble(name, first, valid, test, **options)
    return replace(found, label=first.t_name.removeprefix(f"{path}: "))


class Arrays:
    """The arrays of an npz file and its bytes, each read when it is asked for."""

    def __init__(self, path: PathLike, content: bytes) -> None:
        self.path = path
        if not content.startswith(b"PK"):
            raise unusable(
                path,
                "an npz file (a zip archive, as numpy.savez writes)",
                f"the bytes {content[:4].hex(' ')}",
                "write it with numpy.savez",
            )
        self._size = len(content)
        self._file = self._guarded(lambda: np.load(io.BytesIO(content), allow_pickle=False))
        self.keys = sorted(self._file.files)

    def part(self, suffixes: tuple[str, ...]) -> Part | None:
        """x and t with one of the suffixes; None if neither is there."""
        x, t = self.named(suffixes)
        if x is None and t is None:
            return None
        if x is None or t is None:
            missing = ("x" if x is None else "t") + suffixes[0]
            raise unusable(
                self.path,
                f"{missing} beside {x or t}",
                f"the keys {self.keys}",
                "rename or add the array",
            )
        return Part(self.read(x), self.read(t), f"{self.path}: {x}", f"{self.path}: {t}")

    def named(self, suffixes: tuple[str, ...]) -> tuple[str | None, str | None]:
        """The keys of x and t with one of the suffixes, each None where it is not there."""
        return self._key(X, suffixes), self._key(T, suffixes)

    def _key(self, names: tuple[str, ...], suffixes: tuple[str, ...]) -> str | None:
        found = [n + s for n in names for s in suffixes if n + s in self.keys]
        if len(found) > 1:
            raise unusable(self.path, "one of them", f"both {' and '.join(found)}", "remove one")
        return found[0] if found else None

    def read(self, key: str) -> Array:
        """The array of that key, whole and of no more bytes than it says."""
        self._guarded(lambda: self._check_size(key), f": {key}")
        values = self._guarded(lambda: self._file[key], f": {key}")
        if not isinstance(values, np.ndarray):  # a member of the archive that is no .npy file
            raise unusable(f"{self.path}: {key}", "an array", "other data", "use numpy.savez")
        return values

    def _check_size(self, key: str) -> None:
        """ValueError unless the array is as large as it says, before memory is taken for it."""
        info = next(i for i in self._file.zip.infolist() if i.filename in (key, f"{key}.npy"))
        most = room(min(info.compress_size, self._size))
        if info.file_size > most:
            raise ValueError(
                f"{info.file_size:,} bytes in {info.compress_size:,}, at most {most:,} are "
                "unpacked; if that is meant, use numpy.savez, which packs nothing"
            )
        with self._file.zip.open(info) as file:
            start = file.read(8)
            version = tuple(start[6:])
            if not start.startswith(npy.MAGIC_PREFIX) or version not in ((1, 0), (2, 0)):
                return  # no array, or one with named fields: refused later
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, _, dtype = read(file)
            size, rest = math.prod(shape) * dtype.itemsize, info.file_size - file.tell()
            if size != rest and not dtype.hasobject:
                raise ValueError(
                    f"{dtype} of shape {shape} takes {size:,} bytes, there are {rest:,}"
                )

    def _guarded(self, read: Callable[[], Any], key: str = "") -> Any:
        try:
            return read()
        except Exception as error:
            # A damaged archive fails in whatever way zipfile, zlib and NumPy's header reader
            # happen to: no list of their errors would stay complete.
            raise unusable(
                f"{self.path}{key}",
                "arrays of numbers or text as numpy.savez writes them",
                f"what cannot be read ({type(error).__name__}: {error})",
                "write it again, without objects",
            ) from None
