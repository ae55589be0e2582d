"""For those who study training: what is looked at, not trained with."""

from gpunet.study.batchnorm_walk import batchnorm
from gpunet.study.probe import Probe
from gpunet.study.surface import Surface, surface
from gpunet.study.trajectory import Trajectory
from gpunet.study.watching import watching

__all__ = ["Probe", "Surface", "Trajectory", "batchnorm", "surface", "watching"]
