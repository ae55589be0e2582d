"""What one run writes: a set of files that is in its folder as a whole, or not at all.

Renaming changes one file at a time. To change all of them at once, every name becomes a link that
leads through one other link, and that one is turned:

    model -> .gpunet-now/model    .gpunet-now -> .gpunet-old    each name still shows the old file
                                  .gpunet-now -> .gpunet-new    now all of them show the new ones

Then the files take the places of the links. Killed at any moment, the next run ends what was begun.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from gpunet.files import fill, lock, status, sweep, sync, write_atomically

NOW, OLD, NEW = ".gpunet-now", ".gpunet-old", ".gpunet-new"


class Busy(OSError):
    """Another run writes into the folder."""


class Outputs:
    """A folder for the files `names`, made if need be, and this run's alone inside `with`.

        with Outputs(folder, ["model", "report"]) as out:
            out.stage("model", content)  # on the disk, and in nobody's way
            out.commit()  # there is the new model, and no report: an earlier run's is gone

    size: so many bytes must find room. On entering, `Busy` if another run has the folder, OSError
    if files cannot be written there.
    """

    def __init__(self, folder: Path, names: Iterable[str], size: int = 0) -> None:
        self.folder, self.names, self.size = folder, list(names), size
        self._handle = -1

    def __enter__(self) -> Outputs:
        self.folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(PermissionError):  # Windows opens no folders
            self._handle = os.open(self.folder, os.O_RDONLY)
        try:
            if self._handle >= 0 and not lock(self._handle):
                raise Busy("another run is writing there: wait for it, or choose another folder")
            self._settle()
            sweep(os.fspath(self.folder), self.names)
            self._try()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):
            self._settle()
        self._close()

    def _close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def stage(self, name: str, data: bytes) -> None:
        """Write a file of the set to the disk, for the next `commit`."""
        if name not in self.names:
            raise ValueError(f"{name} is none of {', '.join(self.names)}")
        new = self.folder / NEW
        new.mkdir(exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0)
        handle = os.open(new / name, flags, 0o666)
        try:
            fill(handle, data, status(os.fspath(self.folder / name)))
        finally:
            os.close(handle)

    def commit(self) -> None:
        """Make what was staged the set; those of `names` that were not are removed. Nothing happens
        if nothing was. OSError if it cannot be done: then the folder has the old set.
        """
        new = self.folder / NEW
        if not new.is_dir():
            return
        for name in self.names:  # that leads elsewhere, and is not wanted any more
            if (self.folder / name).is_symlink() and not (new / name).exists():
                (self.folder / name).unlink()
        try:
            if self._link_to_old():
                self._turn(NEW)
            else:
                self._one_by_one()
        finally:
            self._settle()

    def rescue(self, name: str, data: bytes) -> Path | None:
        """Write a file that its folder does not take somewhere near; where, or None if nowhere."""
        parents = self.folder.absolute().parents
        for place in (*parents[:1], Path.cwd(), Path.home(), Path(tempfile.gettempdir())):
            path = place / f"{self.folder.name}-{name}"
            with contextlib.suppress(OSError, RuntimeError):
                write_atomically(path, data)
                return path
        return None

    # The change, step by step

    def _ours(self) -> list[str]:
        """The names that the links take part for: not those that lead elsewhere, to which is
        written where they lead.
        """
        found = {name: _kind(self.folder / name) for name in self.names}
        return [name for name, kind in found.items() if kind in (None, stat.S_IFREG)]

    def _link_to_old(self) -> bool:
        """Make every name a link to what it is; False where there are no links."""
        old = self.folder / OLD
        old.mkdir()
        for name in self._ours():
            if (self.folder / name).exists():
                _same(self.folder / name, old / name)
        sync(os.fspath(old))
        sync(os.fspath(self.folder / NEW))
        try:
            self._turn(OLD)
        except (OSError, NotImplementedError):
            return False
        for name in self._ours():
            self._place(name, f"{NOW}/{name}")
        return True

    def _turn(self, side: str) -> None:
        """The moment of the change: one link, and with it all."""
        sync(os.fspath(self.folder))
        self._place(NOW, side)
        sync(os.fspath(self.folder))

    def _place(self, name: str, target: str) -> None:
        """A link in the place of what is there, at once."""
        link = self.folder / NEW / ".link"
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        os.replace(link, self.folder / name)

    def _one_by_one(self) -> None:
        for name in self._ours():
            if (self.folder / NEW / name).exists():
                os.replace(self.folder / NEW / name, self.folder / name)
            else:
                (self.folder / name).unlink(missing_ok=True)
        self._follow(self.folder / NEW)

    def _settle(self) -> None:
        """Put files in the place of links, those of the side that is shown now; remove the rest."""
        now, shown = self.folder / NOW, None
        if now.is_symlink():
            shown = self.folder / os.readlink(now)
            for entry in list(self.folder.iterdir()):
                if entry.is_symlink() and os.readlink(entry) == f"{NOW}/{entry.name}":
                    if (shown / entry.name).exists():
                        os.replace(shown / entry.name, entry)
                    else:
                        entry.unlink()
            if shown.name == NEW:
                self._follow(shown)
            now.unlink()
            sync(os.fspath(self.folder))
        for side in (OLD, NEW):
            shutil.rmtree(self.folder / side, ignore_errors=True)

    def _follow(self, new: Path) -> None:
        """What is left: names that lead elsewhere, or are no files."""
        for entry in new.iterdir():
            if entry.name != ".link":
                write_atomically(self.folder / entry.name, entry.read_bytes())

    def _try(self) -> None:
        """Whether files can be written. OSError if not."""
        for name in self.names:
            path = self.folder / name
            if path.is_dir():
                raise IsADirectoryError(f"{name} is a folder")
            if path.is_symlink() and not os.access(path.resolve().parent, os.W_OK):
                raise OSError(f"{name} leads to {path.resolve()}, which cannot be written")
        with tempfile.TemporaryFile(dir=self.folder) as file:
            file.write(b"x")
            file.flush()
            if self.size and hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, self.size)


def _kind(path: Path) -> int | None:
    try:
        return stat.S_IFMT(os.lstat(path).st_mode)
    except FileNotFoundError:
        return None


def _same(path: Path, other: Path) -> None:
    """The same file under another name; a copy where there are no hard links."""
    try:
        os.link(path, other)
    except (OSError, NotImplementedError):
        shutil.copy2(path, other)
