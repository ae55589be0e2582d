"""Models and optimizers in safetensors files: the arrays, and what describes them as JSON.

No pickle: a file can hold numbers and the names of known layers, nothing that runs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

from gpunet.backend import Array
from gpunet.containers import KINDS, build, describe
from gpunet.files import write_atomically
from gpunet.layer import Layer
from gpunet.optim import Optimizer
from gpunet.sealing import FORMAT, seal, unseal

FORMATS = (FORMAT, "gpunet 1")


class ModelFileError(ValueError):
    """A file that gpunet did not write, or that is damaged. The message is one line."""


def save(model: Layer | Optimizer, path: str | os.PathLike[str]) -> None:
    """Write a model (a Sequential, an MLP, or any Layer with `config`), or an optimizer's state, to
    a safetensors file.

    It may live on a GPU; it stays there. An existing file is replaced at once or not at all. An
    optimizer's file holds its `state_dict()`, not the parameters: save the model too.

    Raises:
        NotImplementedError: a layer that does not describe itself (`config`).
        TypeError: neither a model nor an optimizer; keys of `update` that are no str or number.
        OSError: the folder is missing or not writable.
    """
    if isinstance(model, Optimizer):
        kind, (description, found) = "optimizer", _taken_apart(model.state_dict())
    elif isinstance(model, Layer):
        kind, description, found = "model", describe(model), model.state_dict()
    else:
        raise TypeError(f"save takes a model or an optimizer, got a {type(model).__name__}")
    write_atomically(path, seal(found, {kind: json.dumps(description)}))


def load(path: str | os.PathLike[str], layers: Iterable[type[Layer]] = ()) -> Layer:
    """The model that `save` wrote, on the CPU, in training mode; `.to("cuda")` moves it.

    Args:
        layers: classes of your own that the file may name.

    Raises:
        FileNotFoundError: no such file.
        ModelFileError: damaged, not written by gpunet, or naming an unknown layer.
    """
    metadata, arrays = _read(path)
    if "model" not in metadata:
        raise _unusable(path, "holds an optimizer: optimizer.load_state_dict(gn.load_state(path))")
    kinds = KINDS | {kind.__name__: kind for kind in layers}
    try:
        model = build(json.loads(metadata["model"]), kinds)
        model.load_state_dict(arrays)
    except Exception as error:  # whatever a constructor makes of another's arguments
        raise _unusable(path, f"cannot rebuild the model: {_said(error)}") from error
    return model


def load_state(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The `state_dict()` of the model or optimizer that `save` wrote, for `load_state_dict`.

    FileNotFoundError, ModelFileError: as for `load`.
    """
    metadata, arrays = _read(path)
    if "model" in metadata:
        return arrays
    try:
        return _put_together(json.loads(metadata["optimizer"]), arrays)
    except Exception as error:  # a damaged description may be anything
        raise _unusable(path, f"not an optimizer's state: {_said(error)}") from None


def _taken_apart(state: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Array]]:
    """An optimizer's state with names in place of its arrays; the arrays by these names. (JSON has
    no keys but strings: what `update` keeps becomes pairs.)
    """
    arrays: dict[str, Array] = {}

    def named(name: str, array: Array | None) -> str | None:
        if array is None:
            return None
        arrays[name] = array
        return name

    slots = {
        slot: [named(f"state.{slot}.{k}", a) for k, a in enumerate(own)]
        for slot, own in state["state"].items()
    }
    kept = []
    for n, (key, own) in enumerate(state["arrays"].items()):
        if not isinstance(key, (str, int, float)):
            raise TypeError(f"a file can hold keys that are a str or a number, not {key!r}")
        kept.append([key, {slot: named(f"arrays.{n}.{slot}", a) for slot, a in own.items()}])
    return {**state, "state": slots, "arrays": kept}, arrays


def _put_together(description: dict[str, Any], arrays: Mapping[str, Array]) -> dict[str, Any]:
    """The state again. It is checked by who loads it."""
    slots = {
        slot: [None if name is None else arrays[name] for name in names]
        for slot, names in description["state"].items()
    }
    kept = {
        key: {slot: arrays[name] for slot, name in own.items()}
        for key, own in description["arrays"]
    }
    return {**description, "state": slots, "arrays": kept}


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, str], dict[str, Array]]:
    """The metadata and the arrays of a file that gpunet wrote."""
    if not os.path.exists(path):
        raise FileNotFoundError(f"no model file {os.fspath(path)!r}")
    try:
        with open(path, "rb") as file:
            metadata, arrays = unseal(file.read())
    except Exception as error:  # SafetensorError, OSError, KeyError for a dtype NumPy lacks
        raise _unusable(path, f"not a readable safetensors file: {_said(error)}") from None
    if metadata.get("format") not in FORMATS or not {"model", "optimizer"} & set(metadata):
        raise _unusable(
            path,
            f"not written by gpunet.save (format {metadata.get('format')!r}, expected "
            f"{FORMAT!r}); read its arrays with safetensors, then model.load_state_dict",
        )
    return metadata, arrays


def _unusable(path: str | os.PathLike[str], trouble: str) -> ModelFileError:
    return ModelFileError(" ".join(f"{os.fspath(path)}: {trouble}".split()))


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
