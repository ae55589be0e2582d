"""The package as users get it: sdist, wheel, editable install and bare checkout all find the CUDA
sources, and nothing is installed beside `gpunet`.
"""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import gpunet as gn

ROOT = Path(__file__).resolve().parent.parent
PROVE = """
import gpunet, gpunet.data
from gpunet.source import kernel_dir, kernel_names
assert "optim/adam" in kernel_names(), kernel_names()
assert len(gpunet.data.digits().train) > 1000
print(gpunet.__file__)
print(kernel_dir())
"""


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    variables = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | environment
    done = subprocess.run(
        [str(c) for c in command], cwd=cwd, env=variables, text=True, capture_output=True
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tracked and new files of this tree, copied: building leaves traces."""
    target = tmp_path_factory.mktemp("checkout")
    skip = shutil.ignore_patterns(".git", "__pycache__", "*.egg-info", "build", "dist", ".*_cache")
    shutil.copytree(ROOT, target, ignore=skip, dirs_exist_ok=True)
    return target


@pytest.fixture(scope="module")
def built(checkout: Path) -> Path:
    """An sdist, and the wheel that was built from it."""
    pytest.importorskip("build", reason="needs the dev extra: pip install '.[dev]'")
    run(sys.executable, "-m", "build", "--no-isolation", ".", cwd=checkout)
    return checkout / "dist"


def test_sdist_holds_everything(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    for name in ("kernels/optim/adam.cu", "tests/conftest.py", "examples/own_op.py", "LICENSE"):
        assert name in names


def test_wheel_installs_one_top_level_package(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    assert {t for t in tops if not t.endswith(".dist-info")} == {"gpunet"}
    kernels = {p.relative_to(ROOT).as_posix() for p in (ROOT / "kernels").rglob("*.cu*")}
    assert {f"gpunet/{k}" for k in kernels} <= set(names)
    modules = {
        p.relative_to(ROOT).as_posix()
        for p in (ROOT / "gpunet").rglob("*")
        if p.is_file() and p.suffix not in (".pyc", "") and "__pycache__" not in p.parts
    }
    assert modules <= set(names), f"left out of the wheel: {sorted(modules - set(names))}"


def test_one_version(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    assert wheel.name.split("-")[1] == gn.__version__
    assert f"\nversion: {gn.__version__}\n" in (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"\n## {gn.__version__}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_wheel_trains(built: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    wheel = next(built.glob("*.whl"))
    pip = (sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", target)
    run(*pip, wheel, cwd=tmp_path)
    found = run(sys.executable, "-c", PROVE, cwd=tmp_path, PYTHONPATH=str(target))
    assert found.splitlines()[1] == str(target / "gpunet" / "kernels")
    command = (sys.executable, "-m", "gpunet", "train", "--epochs", "2", "--out", "o")
    assert "test accuracy" in run(*command, cwd=tmp_path, PYTHONPATH=str(target))
    assert (tmp_path / "o" / "model.safetensors").is_file()


def test_editable_install_sees_edits(checkout: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    (packages,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    # What gpunet and the build need is borrowed from this environment, without a network.
    (packages / "borrowed.pth").write_text(str(_borrowed(tmp_path / "borrowed")))
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps")
    run(*pip, "--no-build-isolation", "-e", checkout, cwd=tmp_path)
    found = run(python, "-c", PROVE, cwd=tmp_path).split()
    assert found == [str(checkout / "gpunet" / "__init__.py"), str(checkout / "kernels")]


def _borrowed(folder: Path) -> Path:
    """This environment's packages, but not a gpunet that is installed in it."""
    folder.mkdir()
    for packages in map(Path, site.getsitepackages()):
        for entry in packages.iterdir():
            if "gpunet" not in entry.name:
                (folder / entry.name).symlink_to(entry)
    return folder


def test_bare_checkout(checkout: Path, tmp_path: Path) -> None:
    found = run(sys.executable, "-c", PROVE, cwd=tmp_path, PYTHONPATH=str(checkout)).split()
    assert found[1] == str(checkout / "kernels")
