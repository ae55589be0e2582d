"""For those who study training: what is looked at, not trained with. Loaded when asked for."""

from gpunet import lazy

_HOMES = {
    "batchnorm_walk": "batchnorm",
    "hessian": "Curvature curvature",
    "loss_surface": "Surface surface",
    "optimizer_walk": "optimizer",
    "probe": "Probe",
    "second_order": "lbfgs newton",
    "sweeping": "Sweep sweep",
    "trajectory": "Trajectory",
    "watch": "watching",
    "words": "spoken",
}

__all__ = sorted(" ".join(_HOMES.values()).split())
__getattr__, __dir__ = lazy.attach("gpunet.study", _HOMES)
