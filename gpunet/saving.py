"""Models in safetensors files: the arrays, and the layers' description as JSON beside them.

No pickle: a file can hold numbers and the names of known layers, nothing that runs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable

import numpy as np

from gpunet.backend import Array, to_host
from gpunet.containers import KINDS, build, describe
from gpunet.files import write_atomically
from gpunet.layer import Layer

FORMAT = "gpunet 1"


class ModelFileError(ValueError):
    """A file that is not, or no longer, a model that gpunet wrote. The message is one line."""


def save(model: Layer, path: str | os.PathLike[str]) -> None:
    """Write `model` (a Sequential, an MLP, or any Layer with `config`) to a safetensors file.

    The model may live on a GPU; it stays there. An existing file is replaced at once or not at all.

    Raises:
        NotImplementedError: a layer that does not describe itself (`config`).
        OSError: the folder is missing or not writable.
    """
    from safetensors.numpy import save as to_bytes

    metadata = {"format": FORMAT, "model": json.dumps(describe(model))}
    # safetensors writes the memory as it lies: an array in another order would come out scrambled.
    # (Not ascontiguousarray, which gives a lone number an axis.)
    arrays = {k: np.asarray(to_host(v), order="C") for k, v in model.state_dict().items()}
    write_atomically(path, to_bytes(arrays, metadata=metadata))


def load(path: str | os.PathLike[str], layers: Iterable[type[Layer]] = ()) -> Layer:
    """The model that `save` wrote, on the CPU, in training mode; `.to("cuda")` moves it.

    Args:
        layers: classes of your own that the file may name.

    Raises:
        FileNotFoundError: no such file.
        ModelFileError: damaged, not written by gpunet, or naming an unknown layer.
    """
    description, arrays = _read(path)
    kinds = KINDS | {kind.__name__: kind for kind in layers}
    try:
        model = build(json.loads(description), kinds)
        model.load_state_dict(arrays)
    except Exception as error:  # whatever a constructor makes of another's arguments
        raise _unusable(path, f"cannot rebuild the model: {_said(error)}") from error
    return model


def _read(path: str | os.PathLike[str]) -> tuple[str, dict[str, Array]]:
    """The description and the arrays of a file that gpunet wrote."""
    from safetensors import safe_open

    if not os.path.exists(path):
        raise FileNotFoundError(f"no model file {os.fspath(path)!r}")
    try:
        with safe_open(os.fspath(path), framework="numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT or "model" not in metadata:
                raise _unusable(
                    path,
                    f"not written by gpunet.save (format {metadata.get('format')!r}, expected "
                    f"{FORMAT!r}); read its arrays with safetensors, then model.load_state_dict",
                )
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except ModelFileError:
        raise
    except Exception as error:  # SafetensorError, OSError, TypeError for a dtype NumPy lacks
        raise _unusable(path, f"not a readable safetensors file: {_said(error)}") from None
    return metadata["model"], arrays


def _unusable(path: str | os.PathLike[str], trouble: str) -> ModelFileError:
    return ModelFileError(" ".join(f"{os.fspath(path)}: {trouble}".split()))


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
