"""Files that are written whole: to a temporary name beside them, then renamed; and by one process at a time.

What takes too long to be lost as a whole is written record by record: see `journal`.
"""

import errno
import json
import math
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from painters_mtl.common import interrupts
from painters_mtl.common.errors import UserError
from painters_mtl.common.messages import say


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A temporary path with the same ending; it becomes `path` when the block ends well and goes when it does not."""
    path = Path(path)
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        yield temporary
        with temporary.open("rb+") as written:  # Windows flushes only what is open for writing
            os.fsync(written.fileno())  # a power cut must not keep the name and lose the content
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(folder: Path, replace: bool = False, or_there: bool = False) -> Iterator[Path]:
    """A temporary folder that becomes `folder` when the block ends well, and goes when it does not.

    An empty folder that is there is filled, as it may be a mount point. Raises `OSError` where the folder has files in
    it at the end.

    Args:
        replace: put it in the place of a folder that is there.
        or_there: a folder that another process has made meanwhile is as good, and is kept.
    """
    folder = Path(os.path.realpath(folder))  # behind a link: the folder that it names
    # In containers all processes have the same few numbers, and each container a name of its own.
    host = re.sub(r"\W", "", platform.node())
    temporary, old = (folder.with_name(f".{os.getpid()}-{host}{suffix}-{folder.name}") for suffix in ("", "-old"))
    if _names(folder) < _names(old):  # a process of this number was killed between the two moves below
        _restore(old, folder)
    for left in (temporary, old):
        shutil.rmtree(left, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        try:
            if replace and _names(folder):
                _move(folder, old)
            _move(temporary, folder)
        except BaseException as error:
            _restore(old, folder)
            if not (isinstance(error, OSError) and or_there and _names(folder)):
                raise
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _restore(old: Path, folder: Path) -> None:
    """Put a folder that was moved aside back, where nothing but a rest of it stands in its place."""
    if old.is_dir() and _names(folder) <= _names(old):
        for name in _names(folder):
            _remove(folder / name)
        _move(old, folder)


def _names(folder: Path) -> set[str]:
    """What is in a folder; nothing where there is none."""
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def _move(source: Path, target: Path) -> None:
    """Give a folder another name.

    Where either is a mount point, which no rename moves or replaces, all that is in it is copied, and only then
    removed: Ctrl-C leaves one of the two whole. Raises `OSError` where there are files in `target`.
    """
    try:
        source.replace(target)
        return
    except OSError:
        if not source.is_dir() or _names(target):
            raise
    made = not target.exists()
    target.mkdir(exist_ok=True)
    try:
        for child in source.iterdir():
            shutil.copytree(child, target / child.name) if child.is_dir() else shutil.copy2(child, target / child.name)
    except BaseException:
        for child in list(target.iterdir()):
            _remove(child)
        if made:
            target.rmdir()
        raise
    for child in list(source.iterdir()):
        _remove(child)
    with suppress(OSError):  # a mount point stays
        source.rmdir()


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


@contextmanager
def full_disk_is_an_os_error(path: Path) -> Iterator[None]:
    """TensorFlow's writers have an error of their own where the disk is full: within the block it is Python's."""
    from tensorflow import errors  # where something is written by TensorFlow, it is imported

    try:
        yield
    except errors.ResourceExhaustedError as error:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error


def remove_leftovers(folder: Path, name: str = "*") -> None:
    """Remove what `atomic_write` left of `name` when it was killed; only for the one process that may write there."""
    for file in folder.glob(f".[0-9]*-{name}"):
        file.unlink(missing_ok=True)


@contextmanager
def file_lock(file: Path, purpose: str, wait: bool) -> Iterator[None]:
    """Hold the lock `file`, which at most one process does at a time; the system frees it when the process dies.

    A file system that knows no locks keeps nobody waiting.

    Args:
        file: made for the time of the block, with the number of the process in it.
        purpose: what the other process may be doing, for the sentence that names it: "writing predictions.csv".
        wait: until the other is done, and print so; else raise `UserError`.
    """
    from filelock import FileLock, Timeout  # late, for the time that --help takes

    lock = FileLock(file, fallback_to_soft=False)
    waiting = False
    while not lock.is_locked:
        try:
            lock.acquire(timeout=0.3, poll_interval=0.1)
        except Timeout:
            other = _process_in(file)
            if not wait:
                raise UserError(f"another process ({other}) is {purpose}: wait for its end, or end it") from None
            if not waiting:
                say(f"another process ({other}) is {purpose}: waiting for it")
            waiting = True
            interrupts.stop_if_requested()
        except OSError as error:
            if error.errno not in (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK):
                raise
            break
    try:
        with suppress(OSError):  # Windows lets nobody write to what is locked
            file.write_text(str(os.getpid()))
        yield
    finally:
        with suppress(OSError):  # nor remove it; FileLock does that
            file.unlink(missing_ok=True)  # still locked: whoever has opened it sees that it is gone, and opens it anew
        lock.release()


def _process_in(file: Path) -> str:
    """The number of the process that holds a lock."""
    try:
        return file.read_text(encoding="utf-8", errors="replace")[:20] or "unknown"
    except OSError:
        return "unknown"


def user_cache() -> Path:
    """This program's folder among the user's caches, where the system has these; it need not be there yet.

    XDG_CACHE_HOME or ~/.cache; on macOS ~/Library/Caches; on Windows LOCALAPPDATA.
    """
    home = Path.home()
    of_system = {"darwin": home / "Library" / "Caches", "win32": Path(os.environ.get("LOCALAPPDATA") or home)}
    default = of_system.get(sys.platform, home / ".cache")
    return Path(os.environ.get("XDG_CACHE_HOME") or default) / "painters-mtl"


def write_text(path: Path, text: str) -> None:
    """Write a text file whole, in UTF-8."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, values: Any) -> None:
    """Write JSON whole. JSON has no NaN: what is unknown is null."""
    write_text(path, json.dumps(_without_nan(values), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """What `write_json` wrote: null is NaN. Raises `OSError` or `ValueError`."""
    return _with_nan(json.loads(path.read_text(encoding="utf-8")))


def read_if_sound(path: Path) -> dict[str, Any]:
    """The mapping in a JSON file; {} where the file is missing or damaged, or holds something else."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _with_nan(values: Any) -> Any:
    if isinstance(values, dict):
        return {key: _with_nan(value) for key, value in values.items()}
    if isinstance(values, list):
        return [_with_nan(value) for value in values]
    return math.nan if values is None else values


def _without_nan(values: Any) -> Any:
    if isinstance(values, dict):
        return {key: _without_nan(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [_without_nan(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values
