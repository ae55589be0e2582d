"""What CuPy calls as nvcc, for `backend="nvcc"`: a program from a file to a file.

python -m gpunet.testing.simgpu.nvcc --cubin [-o FILE] [OPTIONS] program.cu
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from gpunet import cxx

from .compiler import compile_program

SUFFIXES = {"--ptx": ".ptx", "-ptx": ".ptx", "--cubin": ".cubin", "-cubin": ".cubin"}


def main(words: list[str]) -> int:
    """Do what the command line says; returns the exit status."""
    if "--version" in words:
        print("nvcc of the simulated GPU, release 13.0, V13.0.0")
        return 0
    output = Path(words.pop(words.index("-o") + 1)) if "-o" in words else None
    source = next((Path(word) for word in words if Path(word).suffix in (".cu", ".o")), None)
    if source is None or not source.is_file():
        print(
            "nvcc of the simulated GPU: no program.cu is given, or it is not there", file=sys.stderr
        )
        return 1
    kind = next((SUFFIXES[word] for word in words if word in SUFFIXES), ".o")
    if source.suffix == ".o":  # linked: it is whole already
        shutil.copyfile(source, output or source.with_suffix(kind))
        return 0
    try:
        made = compile_program(source.read_text(), (), [*words, f"-I{source.parent}"], ())
    except cxx.CompileError as error:
        print(error, file=sys.stderr)
        return 1
    print(cxx.warnings(made), end="", file=sys.stderr)
    shutil.copyfile(made, output or Path(source.name).with_suffix(kind))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
