"""IDX files, the format of MNIST and Fashion-MNIST.

The format is Y. LeCun, C. Cortes and C. Burges's, described on the MNIST page: two zero bytes, a
byte for the type, a byte for the number of axes, each axis as a big-endian uint32, the values.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TypeAlias

import numpy as np

from gpunet.data.assemble import Part, assemble
from gpunet.data.dataset import SHARES, Array, Dataset, Shares
from gpunet.data.errors import DataError, PathLike, read_bytes, unusable
from gpunet.data.targets import Target

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MAX_AXES = 64  # NumPy's
_AGAIN = "fetch it again"

TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
Role: TypeAlias = tuple[str, str]
ROLES: tuple[Role, ...] = (
    ("train", "images"), ("train", "labels"), ("test", "images"), ("test", "labels"),
)  # fmt: skip
_NAME = re.compile(
    r"(?:(?P<set>.+)-)?(?P<part>train|t10k|test)-(?P<what>images|labels)[-.]idx[13]-ubyte(\.gz)?"
)


def read_idx(path: PathLike) -> Array:
    """The array in an IDX file, plain or gzip, of the file's shape and type, writable.

    Raises DataError where the file cannot be read, is no IDX file, or is cut short or too long.
    """
    content = read_bytes(path)
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in TYPES:
        raise unusable(
            path,
            "an IDX file (bytes 00 00, a type 08 to 0e, the number of axes)",
            f"the bytes {content[:4].hex(' ') or '(none)'}",
            "check that this is the right file",
        )
    kind, axes = np.dtype(TYPES[content[2]]), content[3]
    start = 4 + 4 * axes
    if not 1 <= axes <= _MAX_AXES:
        raise unusable(path, f"1 to {_MAX_AXES} axes", str(axes), "check that this is an IDX file")
    if len(content) < start:
        raise unusable(
            path, f"a header of {start} bytes", f"{len(content)} bytes: it is cut short", _AGAIN
        )
    shape = tuple(int(n) for n in np.frombuffer(content, ">u4", axes, offset=4))
    size = math.prod(shape) * kind.itemsize  # Python's integers: a damaged header may be huge
    if len(content) != start + size:
        fault = "cut short" if len(content) < start + size else "too long"
        raise unusable(
            path,
            f"{start + size} bytes for shape {shape} of {kind.newbyteorder('=')}",
            f"{len(content)}: it is {fault}",
            _AGAIN,
        )
    try:
        values = np.frombuffer(content, kind, offset=start).reshape(shape)
    except ValueError as error:  # no values, and a shape beyond any memory: (0, 2^32 - 1, ...)
        raise unusable(path, "the shape of an array", f"{shape}: {error}", _AGAIN) from None
    return values.astype(kind.newbyteorder("="))


def load_idx(
    folder: PathLike, *, normalise: bool = True, target: Target = "auto", shares: Shares = SHARES
) -> Dataset:
    """The data set of a folder with the four IDX files of MNIST.

    The names are train-images-idx3-ubyte, train-labels-idx1-ubyte and the same with t10k or test,
    or with a dot (train-images.idx3-ubyte), each also with .gz; the plain file is taken where both
    are there. All four may begin with the name of a set, as EMNIST's do: where a folder has several
    sets, it is given as FOLDER/emnist-letters. (EMNIST's images are stored with rows and columns
    exchanged; so they stay.) t10k is the test part; a tenth of train (see `shares`), chosen by
    `split` with seed 0, is the validation part (54,000 / 6,000 / 10,000 for MNIST). uint8 images
    become float32 in [0, 1]; see `assemble` for other types and `normalise`, and `targets` for
    labels and `target`.

    Raises DataError where a file is missing or damaged, or the four do not fit together.
    """
    where = Path(folder)
    found = _sets(where) if where.is_dir() else _sets(where.parent, where.name)
    complete = sorted(name for name, files in found.items() if len(files) == len(ROLES))
    if len(complete) > 1:
        raise unusable(
            folder,
            "one set of four IDX files",
            f"{len(complete)}: {', '.join(complete)}",
            f"name one of them, as in {where / (complete[0] or complete[1])}",
        )
    if not complete:
        raise _incomplete(folder, found)
    files = found[complete[0]]
    train = _part(files["train", "images"], files["train", "labels"])
    test = _part(files["test", "images"], files["test", "labels"])
    name = where.resolve().name
    return assemble(name, train, test=test, normalise=normalise, target=target, shares=shares)


def is_set(source: PathLike) -> bool:
    """Whether `source` is a folder and the name of one of several sets in it."""
    where = Path(source)
    return not where.exists() and where.parent.is_dir() and bool(_sets(where.parent, where.name))


def held_out(source: PathLike) -> tuple[Path, Path | None] | None:
    """The images and labels to look at with a network that is trained: those of the test part, or
    of the training part where a folder has no other; None where it has no images. Labels that are
    not there are None.

    DataError where the folder has several sets and none is named.
    """
    where = Path(source)
    found = _sets(where) if where.is_dir() else _sets(where.parent, where.name)
    parts = [
        (name, files[part, "images"], files.get((part, "labels")))
        for name, files in sorted(found.items())
        for part in ("test", "train")
        if (part, "images") in files
    ]
    names = list(dict.fromkeys(name for name, *_ in parts))
    if len(names) > 1:
        hint = f"name one of them, as in {where / (names[0] or names[1])}"
        raise unusable(source, "one set of IDX files", f"{len(names)}: {', '.join(names)}", hint)
    return parts[0][1:] if parts else None


def _sets(folder: Path, only: str = "") -> dict[str, dict[Role, Path]]:
    """The IDX files in a folder by the name of their set, "" for MNIST's own, and by their role."""
    found: dict[str, dict[Role, Path]] = {}
    for path in sorted(folder.iterdir()):
        match = _NAME.fullmatch(path.name)
        if match and path.is_file() and only in ("", match["set"]):
            part = "train" if match["part"] == "train" else "test"
            # In this order a plain file comes before its .gz, a hyphen before a dot.
            found.setdefault(match["set"] or "", {}).setdefault((part, match["what"]), path)
    return found


def _incomplete(folder: PathLike, found: dict[str, dict[Role, Path]]) -> DataError:
    """What is missing, of the set that has the most."""
    name = max(found, key=lambda name: len(found[name]), default="")
    start = f"{name}-" if name else ""
    names = dict(zip(ROLES, (TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS), strict=True))
    missing = next(names[role] for role in ROLES if role not in found.get(name, {}))
    return unusable(
        folder,
        f"the four IDX files of MNIST, {start}{missing}[.gz] among them",
        "no such file",
        f"put {', '.join(start + n for n in names.values())} there",
    )


def _part(x_path: Path, t_path: Path) -> Part:
    return Part(read_idx(x_path), read_idx(t_path), str(x_path), str(t_path))
