"""Every warning that g++ has for a kernel's text, as an error: `-Wdouble-promotion` above all.

The text stands in a function of our own. What is ours is marked as a system header, so that only
warnings about the lines under kernels/ count.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from gpunet.cxx import CXX, HEADERS
from gpunet.kernel import BlockKernel, Kernel
from gpunet.source import HEADER, Source

SIMGPU = Path(__file__).with_name("simgpu")  # not imported: it would be there before CuPy
WARNINGS = ("-Wall", "-Wextra", "-Wdouble-promotion", "-Werror")
PRAGMAS = "-Wno-unknown-pragmas"  # `#pragma unroll` is CUDA's
INCLUDES = ("-isystem", str(HEADERS), "-isystem", str(SIMGPU))
FLAGS = ("-std=c++17", "-O1", *WARNINGS, PRAGMAS, *INCLUDES, "-x", "c++")
TIMEOUT = 120.0  # seconds
TYPES = {"float32": "float", "float64": "double", "int32": "int", "uint32": "unsigned int"}
TYPES |= {"int64": "long long", "uint64": "unsigned long long", "uint8": "unsigned char"}
# As much of CuPy's surroundings of an element as a kernel's text may use.
AROUND = """#define SIMGPU_CUPY_HEADERS
#include "device.h"
template <class T> struct Raw { T &operator[](ptrdiff_t) const; ptrdiff_t size() const; };
[[maybe_unused]] static uint3 threadIdx, blockIdx, blockDim, gridDim;
"""
OURS = '# 1 "generated" 3\n'  # 3 is the mark of a system header
PLACE = re.compile(r'^#line (\d+) ("[^"]*")$', re.MULTILINE)


def complaints(kernel: Kernel, options: frozenset[str], dtype: str) -> str:
    """What g++ says about the kernel on arrays of `dtype`; empty if it is content."""
    done = subprocess.run(
        [CXX, *FLAGS, "-c", "-", "-o", "/dev/null"],
        input=program(kernel, options, dtype),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    return "" if done.returncode == 0 else done.stderr or f"{CXX} ended with {done.returncode}"


def program(kernel: Kernel, options: frozenset[str], dtype: str) -> str:
    """A C++ file with the kernel's text in a function that takes one element of each array, or of a
    block kernel the text itself, its shared memory as plain variables.
    """
    if isinstance(kernel, BlockKernel):
        whole = kernel.text(dtype=dtype)
        head = f'{OURS}#include "emulator.h"\n#define __shared__ static\n'
        return head + _marked(whole.preamble + whole.arguments[0]) + "\n"
    text = kernel.text(options)
    inputs, outputs = (declarations.split(",") for declarations in text.arguments[:2])
    if text.kind == "ReductionKernel":
        body = _reduction(kernel.source, _type(outputs[-1].split()[-2]))
    else:
        body = text.arguments[2] + ";"
    declared = [_declared(one, "const ") for one in inputs if one.strip()]
    declared += [_declared(one, "") for one in outputs]
    signature = f"void {text.name}({', '.join(declared)}, const ptrdiff_t &i)"
    head = f"{OURS}{AROUND}typedef {TYPES[dtype]} T, S;\n"
    function = f"{OURS}{signature};\n{signature} {{\n{_marked(body)}\n{OURS}}}\n"
    return head + _marked(text.preamble) + function


def _declared(parameter: str, const: str) -> str:
    """A parameter as CuPy declares it, `raw T x`, as one of a function."""
    *raw, kind, name = parameter.split()
    kind = f"{const}{_type(kind)}"
    return f"const Raw<{kind}> &{name}" if "raw" in raw else f"{kind} &{name}"


def _type(name: str) -> str:
    return name if len(name) == 1 else TYPES[name]


def _marked(text: str) -> str:
    """`#line`, which keeps the mark of a system header, as GNU line markers, which set it."""

    def marker(match: re.Match[str]) -> str:
        system = "" if match[2].startswith('"kernels/') else " 3"
        return f"# {match[1]} {match[2]}{system}"

    return PLACE.sub(marker, text)


def header_line(source: Source, entry: str) -> int:
    """The number of the header's line `// ENTRY: ...`."""
    for number, line in enumerate(source.path.read_text("utf-8").splitlines(), 1):
        if (match := HEADER.match(line)) and match[1] == entry:
            return number
    return 1


def _reduction(source: Source, kind: str) -> str:
    """The four expressions, as CuPy uses them: a and b are values of the output's type."""

    def at(entry: str) -> str:
        place = f'"kernels/{source.name}.cu"'
        line = f"#line {header_line(source, entry)} {place}"
        return f'\n{line}\n{source.reduction[entry]}\n#line 1 "generated"\n'

    return (
        f"{kind} a = {kind}({at('identity')}), b = static_cast<{kind}>({at('map')});\n"
        f"a = ({at('reduce')});\n{at('post')};\n"
    )
