"""gpunet beside other libraries: `python -m benchmarks.peers`.

One file a library, each worth reading as the fastest way that library offers for a small network:
`ours`, `pytorch`, `with_jax`, `scikit_learn`, and `by_hand`, which is NumPy and nothing else.
`base` says what a peer is, `comparing` that all compute the same, `rounds` how they are timed.
"""
