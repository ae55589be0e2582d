"""What a training step costs, for `gpunet bench` and for the benchmarks beside other libraries.

In reading order: `workloads` (what is measured), `steps` (as calls), `timing`, `counting`,
`places` (where), `measure` (all of it, as a record).
"""
