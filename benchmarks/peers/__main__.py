"""python -m benchmarks.peers: options, threads, and then command.py."""

from __future__ import annotations

import sys

from benchmarks import threads
from benchmarks.peers.options import read


def main() -> int:
    options = read(sys.argv[1:])
    threads.limit(options.threads, options.device)
    from benchmarks.peers.command import run  # loads NumPy

    return run(options)


if __name__ == "__main__":
    sys.exit(main())
