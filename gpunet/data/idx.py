"""IDX files, the format of MNIST and Fashion-MNIST.

The format is Y. LeCun, C. Cortes and C. Burges's, described on the MNIST page: two zero bytes, a
byte for the type, a byte for the number of axes, each axis as a big-endian uint32, the values.
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from gpunet.data.assemble import Part, assemble
from gpunet.data.dataset import Array, Dataset
from gpunet.data.errors import PathLike, read_bytes, unusable
from gpunet.data.targets import Target

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MAX_AXES = 64  # NumPy's
_GZIP = b"\x1f\x8b"
_AGAIN = "fetch it again"

TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


def read_idx(path: PathLike) -> Array:
    """The array in an IDX file, plain or gzip, of the file's shape and type, writable.

    Raises DataError where the file cannot be read, is no IDX file, or is cut short or too long.
    """
    content = _unpacked(path)
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
    values = np.frombuffer(content, kind, offset=start).reshape(shape)
    return values.astype(kind.newbyteorder("="))


def _unpacked(path: PathLike) -> bytes:
    content = read_bytes(path)
    if not content.startswith(_GZIP):  # the content tells, whatever the name says
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error) as error:
        raise unusable(path, "a whole gzip file", f"damage ({error})", _AGAIN) from None


def load_idx(folder: PathLike, *, normalise: bool = True, target: Target = "auto") -> Dataset:
    """The data set of a folder with the four IDX files of MNIST.

    The names are train-images-idx3-ubyte, train-labels-idx1-ubyte and the same with t10k, or with
    a dot (train-images.idx3-ubyte), each also with .gz; the plain file is taken where both are
    there. t10k is the test part; a tenth of train, chosen by `split` with seed 0, is the
    validation part (54,000 / 6,000 / 10,000 for MNIST). uint8 images become float32 in [0, 1];
    see `assemble` for other types and `normalise`, and `targets` for labels and `target`.

    Raises DataError where a file is missing or damaged, or the four do not fit together.
    """
    train = _part(folder, TRAIN_IMAGES, TRAIN_LABELS)
    test = _part(folder, TEST_IMAGES, TEST_LABELS)
    name = Path(folder).resolve().name
    return assemble(name, train, test=test, normalise=normalise, target=target)


def _part(folder: PathLike, images: str, labels: str) -> Part:
    x_path, t_path = _find(folder, images), _find(folder, labels)
    return Part(read_idx(x_path), read_idx(t_path), str(x_path), str(t_path))


def _find(folder: PathLike, name: str) -> Path:
    dotted = name.replace("-idx", ".idx")
    for candidate in (name, dotted, f"{name}.gz", f"{dotted}.gz"):
        path = Path(folder) / candidate
        if path.is_file():
            return path
    raise unusable(
        folder,
        f"the four IDX files of MNIST, {name}[.gz] among them",
        "no such file",
        f"put {TRAIN_IMAGES}, {TRAIN_LABELS}, {TEST_IMAGES} and {TEST_LABELS} there",
    )
