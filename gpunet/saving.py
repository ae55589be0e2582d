"""Models and optimizers in safetensors files: the arrays, and what describes them as JSON.

No pickle: a file can hold numbers and the names of known layers, nothing that runs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

from gpunet import rng
from gpunet.backend import Array
from gpunet.blank import blank
from gpunet.containers import KINDS, build, describe
from gpunet.files import read_file, write_atomically
from gpunet.layer import Layer
from gpunet.optim import Optimizer
from gpunet.packing import pack, unpack
from gpunet.sealing import FORMAT, seal, unseal
from gpunet.tied import tie, ties

MOST_WORDS = 1 << 22  # of a description in JSON: 40,000 layers
FORMATS = (FORMAT, "gpunet 1")
HOLDERS = {  # what a file may hold, and who reads it
    "model": "gn.load(path)",
    "optimizer": "optimizer.load_state_dict(gn.load_state(path))",
    "training": "trainer.load(path)",
    "ensemble": "ensemble.load(path)",
}


class ModelFileError(ValueError):
    """A file that gpunet did not write, or that is damaged. The message is one line."""


def save(model: Layer | Optimizer, path: str | os.PathLike[str]) -> None:
    """Write a model (a Sequential, an MLP, or any Layer with `config`), or an optimizer's state, to
    a safetensors file.

    It may live on a GPU; it stays there. An existing file is replaced at once or not at all. An
    optimizer's file holds its `state_dict()`, not the parameters: save the model too.

    Raises:
        NotImplementedError: a layer that does not describe itself (`config`).
        TypeError: neither a model nor an optimizer; keys of `update` that a file cannot hold.
        OSError: the folder is missing or not writable.
    """
    write_atomically(path, to_bytes(model))


def to_bytes(model: Layer | Optimizer, data: Mapping[str, Any] | None = None) -> bytes:
    """The content of the file that `save` writes; NotImplementedError, TypeError as there.

    data: what the model was trained on, such as `Description.to_words()`, as words beside it.
    """
    if isinstance(model, Optimizer):
        packed, arrays = pack(model.state_dict())
        words = {"optimizer": json.dumps(packed)}
    elif isinstance(model, Layer):
        arrays = model.state_dict()
        description = _check_length(json.dumps(describe(model)))
        words = {"model": description, "numbers": json.dumps(model.numbers())}
        words |= {"tied": json.dumps(tied)} if (tied := ties(model)) else {}
    else:
        raise TypeError(f"save takes a model or an optimizer, got a {type(model).__name__}")
    if data is not None:
        words["data"] = json.dumps(data)
    return seal(arrays, words)


def load(path: str | os.PathLike[str], layers: Iterable[type[Layer]] = ()) -> Layer:
    """The model that `save` wrote, on the CPU, in training mode; `.to("cuda")` moves it.

    Args:
        layers: classes of your own that the file may name.

    Raises:
        FileNotFoundError: no such file.
        ModelFileError: damaged, not written by gpunet, or naming an unknown layer.
    """
    return load_described(path, layers)[0]


def load_described(
    path: str | os.PathLike[str], layers: Iterable[type[Layer]] = ()
) -> tuple[Layer, dict[str, Any] | None]:
    """The model, and the words about its data that `to_bytes` was given, None if there are none.
    Errors as for `load`.
    """
    metadata, arrays = read(path, "model")
    kinds = KINDS | {kind.__name__: kind for kind in layers}
    numbers = sum(array.size for array in arrays.values())
    try:
        # A little more than there is, so that a small difference is told by the array's name.
        with rng.apart(0), blank(len(arrays) + 1000, numbers + 1_000_000):
            model = build(json.loads(_check_length(metadata["model"])), kinds)
        tie(model, json.loads(metadata.get("tied", "[]")))
        model.load_state_dict(arrays)
        if "numbers" in metadata:  # older files have none
            model.load_numbers(json.loads(metadata["numbers"]))
        data = json.loads(metadata["data"]) if "data" in metadata else None
    except Exception as error:  # whatever a constructor makes of another's arguments
        raise unusable(path, f"cannot rebuild the model: {_said(error)}") from error
    return model, data


def load_state(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The `state_dict()` of the model or optimizer that `save` wrote, for `load_state_dict`.

    FileNotFoundError, ModelFileError: as for `load`.
    """
    metadata, arrays = read(path, "model", "optimizer")
    if "model" in metadata:
        return arrays
    try:
        state: dict[str, Any] = unpack(json.loads(metadata["optimizer"]), arrays)
    except Exception as error:  # a damaged description may be anything
        raise unusable(path, f"not an optimizer's state: {_said(error)}") from None
    return state


def read(path: str | os.PathLike[str], *kinds: str) -> tuple[dict[str, str], dict[str, Array]]:
    """The metadata and the arrays of a file that gpunet wrote, if it holds one of `kinds`."""
    if not os.path.exists(path):
        raise FileNotFoundError(f"no model file {os.fspath(path)!r}")
    try:
        metadata, arrays = unseal(read_file(path))
    except Exception as error:  # SafetensorError, OSError, KeyError for a dtype NumPy lacks
        raise unusable(path, f"not a readable safetensors file: {_said(error)}") from None
    if metadata.get("format") not in FORMATS or not HOLDERS.keys() & metadata.keys():
        raise unusable(
            path,
            f"not written by gpunet.save (format {metadata.get('format')!r}, expected "
            f"{FORMAT!r}); read its arrays with safetensors, then model.load_state_dict",
        )
    holds = next(kind for kind in HOLDERS if kind in metadata)
    if holds not in kinds:
        article = "an" if holds in ("optimizer", "ensemble") else "a"
        raise unusable(path, f"holds {article} {holds}: {HOLDERS[holds]}")
    return metadata, arrays


def unusable(path: str | os.PathLike[str], trouble: str) -> ModelFileError:
    """The error, in one line."""
    return ModelFileError(" ".join(f"{os.fspath(path)}: {trouble}".split()))


def _check_length(description: str) -> str:
    """Itself; ValueError where building the layers would take minutes."""
    if len(description) > MOST_WORDS:
        raise ValueError(f"a model is described in {len(description):,} bytes, over {MOST_WORDS:,}")
    return description


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
