"""What benchmarks.verify_gpu runs: the stages, and the processes that each has to itself."""
