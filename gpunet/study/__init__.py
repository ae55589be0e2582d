"""For those who study training: what is looked at, not trained with. Loaded when asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpunet.study.batchnorm_walk import batchnorm
    from gpunet.study.loss_surface import Surface, surface
    from gpunet.study.probe import Probe
    from gpunet.study.trajectory import Trajectory
    from gpunet.study.watch import watching

_HOME = {
    "Probe": "probe",
    "Surface": "loss_surface",
    "Trajectory": "trajectory",
    "batchnorm": "batchnorm_walk",
    "surface": "loss_surface",
    "watching": "watch",
}

__all__ = ["Probe", "Surface", "Trajectory", "batchnorm", "surface", "watching"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
