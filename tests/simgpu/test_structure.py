"""gpunet.testing.simgpu stands alone: of gpunet it imports cxx, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from gpunet.testing import simgpu

FOLDER = Path(simgpu.__file__).parent


def test_nothing_of_gpunet_is_imported() -> None:
    found = set()
    for path in FOLDER.glob("*.py"):
        lines = re.findall(
            r"^\s*(?:from|import) (gpunet\S*)(?: import (\w+))?", path.read_text(), re.M
        )
        found |= {f"{module}.{name}".rstrip(".") for module, name in lines}
    found -= {"gpunet.testing.simgpu", "gpunet.testing.simgpu.start"}
    assert {name.removesuffix(".CXX") for name in found} == {"gpunet.cxx"}


def test_nothing_of_nvidia_is_included() -> None:
    texts = "\n".join(path.read_text() for path in FOLDER.glob("*.[ch]*"))
    included = set(re.findall(r'#include [<"]([^>"]+)[>"]', texts))
    assert not {name for name in included if name.startswith(("cu", "nv"))}
