"""The temporary folder of the page: uploads come into it, and nothing stays in it.

gradio writes what is uploaded to `folder/uploads`, each file to a folder named by its content. An upload goes when its
tab is closed, half an hour after it was last asked for, when the oldest must make room, and at the end of the page at
the latest. What is left of an upload that broke off goes after two minutes, or once no other upload goes on.
"""

import os
import shutil
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from painters_mtl.common.errors import Unreadable
from painters_mtl.images import zips
from painters_mtl.images.files import ImageFile
from painters_mtl.page import limits

PREFIX = "painters-page-"
_own: set[Path] = set()  # the folders that this process has made


class Uploads:
    """The folder, and a thread that looks every few seconds for what can go.

    Attributes:
        folder: where gradio keeps its files (GRADIO_TEMP_DIR).
        drawn: for files of the page itself, such as the examples; they stay.
    """

    def __init__(self) -> None:
        _remove_those_of_dead_pages()
        made = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
        _own.add(made)
        self.root = made.resolve()
        self.folder, self.drawn = self.root / "uploads", self.root / "drawn"
        self.folder.mkdir()
        self.drawn.mkdir()
        self._sessions: dict[str, dict[Path, int]] = defaultdict(dict)  # the files of each page, with their inodes
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._thread = threading.Thread(target=self._sweep_until_closed, name="uploads", daemon=True)
        self._thread.start()

    def file(self, given: Any, session: str | None = None) -> ImageFile:
        """The uploaded file that gradio's dict {"path", ...} stands for; its name is the one it had at home.

        Raises `Unreadable` for anything that does not lie in the folder, and for what is gone already.

        Args:
            session: whose it is; with the last one who asked for it, it goes.
        """
        path = given.get("path") if isinstance(given, Mapping) else getattr(given, "path", given)
        if not path or "\0" in str(path):
            raise Unreadable("missing", "no picture was given")
        where = Path(str(path)).resolve()
        if not self.holds(where):
            raise Unreadable("missing", "the page reads only what was uploaded to it")
        try:
            os.utime(where)
        except OSError:
            raise Unreadable("missing", "it is not kept any more") from None
        if session:
            with self._lock:
                self._sessions[session][where] = _inode(where)
        return ImageFile(str(where))

    def holds(self, path: str | Path) -> bool:
        """Whether a path lies where uploads do, or the files of the page itself."""
        try:
            where = Path(path).resolve()
        except (OSError, ValueError, RuntimeError):  # a NUL in it, a circle of links
            return False
        return where.is_relative_to(self.folder) or where.is_relative_to(self.drawn)

    def keep(self, files: Iterable[ImageFile]) -> None:
        """Count files as asked for now, so that none of them goes while others are read."""
        for path in {file.path for file in files}:
            with suppress(OSError):
                os.utime(path)

    def folder_for(self, session: str | None) -> Path:
        """A new folder for files that are made for a page, such as a CSV; it goes as uploads do."""
        made = Path(tempfile.mkdtemp(prefix="made-", dir=self.folder))
        if session:
            with self._lock:
                self._sessions[session][made] = made.stat().st_ino
        return made

    def forget(self, session: str) -> None:
        """A tab was closed: remove what only that page used.

        gradio gives the same file the same path: one that was uploaded again since, by whomever, is another's.
        """
        with self._lock:
            mine = self._sessions.pop(session, {})
            others = set().union(*self._sessions.values()) if self._sessions else set()
        self._remove(path for path, inode in mine.items() if path not in others and _inode(path) == inode)

    def full(self) -> bool:
        """Whether new uploads must wait until others have gone, or the disk has room for one again."""
        return self.size() > limits.MAX_STORED or shutil.disk_usage(self.root).free < limits.MAX_FILE

    def size(self) -> int:
        """Bytes of all that is kept."""
        return sum(size for _, _, size in self._files())

    def sweep(self, now: float | None = None) -> None:
        """Remove what is too old, and the oldest where all together is too much."""
        now = time.time() if now is None else now
        files = sorted(self._files())
        going, size = set(), sum(size for *_, size in files)
        # Of an upload with many files, each that is whole lies beside the one that is written, until all are there.
        last_written = max((used for used, path, _ in files if path.parent == self.folder), default=0.0)
        going_on = now - last_written <= limits.PARTIAL_SECONDS
        for used, path, bytes_ in files:
            partial = path.parent == self.folder  # gradio moves it to a folder of its own once the upload is whole
            of_partial = limits.UPLOAD_SECONDS if going_on else limits.PARTIAL_SECONDS
            if now - used > (of_partial if partial else limits.KEPT_SECONDS) or size > limits.MAX_STORED:
                going.add(path)
                size -= bytes_
        self._remove(going)

    def close(self) -> None:
        """Remove the whole folder."""
        self._stop.set()
        zips.close_all()
        shutil.rmtree(self.root, ignore_errors=True)

    def _sweep_until_closed(self) -> None:
        while not self._stop.wait(limits.SWEEP_SECONDS):
            with suppress(OSError):  # what could not be removed now goes the next time
                self.sweep()

    def _files(self) -> list[tuple[float, Path, int]]:
        """(last used, path, bytes) of each file."""
        files = []
        # Not rglob, which fails where a folder goes while it is walked: that of a tab that is closed.
        for folder, _, names in os.walk(self.folder):
            for path in (Path(folder, name) for name in names):
                with suppress(OSError):
                    info = path.stat()
                    files.append((info.st_mtime, path, info.st_size))
        return files

    def _remove(self, paths: Iterable[Path]) -> None:
        removed = False
        for path in paths:
            if not path.is_relative_to(self.folder):
                continue  # an example
            removed |= path.suffix.lower() == ".zip"
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with suppress(OSError):
                    path.unlink(missing_ok=True)
                    if path.parent != self.folder:
                        path.parent.rmdir()  # where nothing else is in it
        if removed:
            zips.close_all()  # an open zip would keep its bytes on the disk


def _inode(path: Path) -> int:
    """The number of the file that a path stands for now; -1 where there is none."""
    try:
        return path.stat().st_ino
    except OSError:
        return -1


def _remove_those_of_dead_pages() -> None:
    """Remove the folders of pages that were killed; only this user's, and only where no such process lives."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*-*"):
        number = folder.name.removeprefix(PREFIX).partition("-")[0]
        # In a container every page has the same number, that of a killed one too.
        is_left = number.isdigit() and (
            folder not in _own if int(number) == os.getpid() else not _is_alive(int(number))
        )
        with suppress(OSError):
            if is_left and folder.stat().st_uid == os.getuid():
                shutil.rmtree(folder, ignore_errors=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
