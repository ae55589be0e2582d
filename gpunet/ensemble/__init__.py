"""Many networks of one shape, trained in one step: docs/ensembles.md."""

from gpunet.ensemble.ensemble import Ensemble

__all__ = ["Ensemble"]
