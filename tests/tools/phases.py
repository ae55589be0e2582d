"""Networks drawn at random, in phases against the tape, and many steps in one launch against a
launch a phase:

    python -m tests.tools.phases --first 0 --count 220 --json tests/phases/record.json

On the simulated GPU with threads and blocks in random order and streams that are deferred. Minutes
for a hundred networks, as each is compiled; tests/phases/test_record.py reads what is written.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from gpunet.files import write_atomically


def examined(seed: int) -> dict[str, Any]:
    """One network: how far from the tape, and whether the bits are the same.

    noise: how far the fused step on the CPU is from the tape, and the tape from itself where the
    samples' last bits are others. (Where a gradient is 0, but for rounding, some optimizers make
    full steps of what rounding leaves.) same_bits: by a launch a phase, by a few blocks in one
    launch, and by as many as there is work for, which keep their tiles. several: whether three
    alike networks are together what each is alone; of every fifth seed, else None.
    """
    from tests.phases import random_networks as networks

    drawn = networks.draw(seed)
    nodes, tape = networks.in_phases(drawn), networks.on_the_tape(drawn)
    many = networks.in_phases(drawn, most_blocks=2 + seed % 5)
    keeps = networks.in_phases(drawn, most_blocks=networks.MANY)
    return {
        "seed": seed,
        "network": drawn.title,
        "layers": [repr(layer) for layer in drawn.model().layers],
        "difference": networks.difference(nodes, tape),
        "noise": noise_of(drawn, tape),
        "same_bits": networks.same_bits(nodes, many) and networks.same_bits(nodes, keeps),
        "several": None if seed % 5 else several(drawn),
    }


def several(drawn: Any) -> bool:
    from tests.phases import random_networks as networks

    alone = [networks.several_in_phases(drawn, [k])[0] for k in range(3)]
    ways = [
        networks.several_in_phases(drawn, range(3), most)
        for most in (0, 2 + drawn.seed % 7, networks.MANY)
    ]
    return all(all(map(networks.same_bits, together, alone)) for together in ways)


def noise_of(drawn: Any, tape: dict[str, Any]) -> float:
    from tests.phases import random_networks as networks

    others = [networks.on_the_tape(drawn, last_bits) for last_bits in (1, 2, 3)]
    others.append(networks.on_the_tape(drawn, fuse=True))
    return max(networks.difference(one, tape) for one in others)


def alike(one: dict[str, Any]) -> bool:
    """Whether it is the tape's network, to rounding, and the same by either way."""
    same = one["same_bits"] and one["several"] is not False
    return bool(same and one["difference"] <= max(1e-12, 10 * one["noise"]))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.tools.phases")
    parser.add_argument("--first", type=int, default=0, help="seed of the first network")
    parser.add_argument("--count", type=int, default=10, help="how many networks")
    parser.add_argument("--json", type=Path, help="write what was found to this file")
    options = parser.parse_args()
    from gpunet.testing import simgpu

    found = []
    with simgpu.activate(), simgpu.schedule("random", options.first, "deferred"):
        for seed in range(options.first, options.first + options.count):
            found.append(examined(seed))
            told = ("network", "difference", "same_bits", "several")
            print(*(found[-1][name] for name in told), flush=True)
    if options.json:
        write_atomically(options.json, (json.dumps(found, indent=1) + "\n").encode())
    bad = [one for one in found if not alike(one)]
    print(f"{len(found)} networks, {len(bad)} not alike")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
