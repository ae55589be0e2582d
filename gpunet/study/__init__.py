"""For those who study training: what is looked at, not trained with."""

from gpunet.study.surface import Surface, surface
from gpunet.study.trajectory import Trajectory

__all__ = ["Surface", "Trajectory", "surface"]
