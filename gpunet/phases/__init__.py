"""The training step in a few kernels of gpunet's own, for networks that are small: docs/step.md."""
