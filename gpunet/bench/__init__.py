"""What a step costs: `workloads` (what is measured), `timing`, `counting`; for `gpunet bench`."""
