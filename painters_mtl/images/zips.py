"""Zips, read in place: each is opened once in a process, and a zip inside a zip is read too.

A zip inside a zip is copied to an unnamed temporary file and read from there. It may have `MAX_NESTED` bytes, its list
of members `MAX_LISTING`; few are open at a time, and a third level is refused: a few kilobytes can unpack to more than
any disk holds.
"""

import os
import re
import tempfile
import threading
import zipfile
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import IO, BinaryIO, NamedTuple

from painters_mtl.common import interrupts
from painters_mtl.common.errors import Unreadable, shorten

MAX_NESTED = 1 << 30  # bytes of a zip inside a zip
MAX_LISTING = 8 << 20  # bytes of its list of members: some 80,000, which fill 70 MB of memory
MAX_MEMBERS = 1_000_000  # of a zip and the zips inside it
COPIED = 1 << 20  # bytes that are copied at a time

_nesting = threading.Lock()  # one zip inside a zip is opened at a time, and by one thread only


class Archive(NamedTuple):
    """An open zip; the lock is for opening and closing its members, which it counts."""

    zip: zipfile.ZipFile
    lock: threading.Lock


class Member(NamedTuple):
    """A file in an open zip."""

    archive: Archive
    info: zipfile.ZipInfo


def is_zip(name: str) -> bool:
    """Whether a file's name says that it is a zip."""
    return name.lower().endswith(".zip")


def open_zip(path: str, member: str = "") -> Archive:
    """The zip at `path`, or the one that is its `member`.

    Raises `OSError` or `Unreadable`; `KeyError` where there is no such member.
    """
    info = Path(path).stat()
    stamp = os.getpid(), info.st_mtime_ns, info.st_size  # a forked child shares the position of its parent's files
    shown = f"{path}/{member}" if member else path
    try:
        archive = _open(path, *stamp)
        if not member:
            return archive
        with _nesting:
            return _open_nested(archive, archive.zip.getinfo(member), *stamp)
    except (OSError, KeyError):
        raise
    except Unreadable as error:
        raise Unreadable(error.reason, error.detail, shown) from error
    except Exception as error:  # BadZipFile, zlib.error, EOFError, RuntimeError (password), NotImplementedError, ...
        raise Unreadable("damaged zip", shorten(error), shown) from error


def find_member(path: str, name: str) -> Member:
    """A member of the zip at `path`: `folder/x.jpg`, or `more.zip/x.jpg` where `more.zip` is a member.

    Raises `KeyError` where there is none, and as `open_zip` does.
    """
    archive = open_zip(path)
    if name in archive.zip.NameToInfo:
        return Member(archive, archive.zip.getinfo(name))
    for end in (match.end() - 1 for match in re.finditer(r"\.zip/", name, re.IGNORECASE)):
        if name[:end] in archive.zip.NameToInfo:
            archive = open_zip(path, name[:end])
            return Member(archive, archive.zip.getinfo(name[end + 1 :]))
    raise KeyError(name)


def member_names(path: str) -> list[str]:
    """The names of all members of the zip at `path`, in its order, those in zips inside it behind the zip's name.

    A zip inside it that cannot be read stands for itself. Raises as `open_zip` does.
    """
    names: dict[str, None] = {}  # a zip may have a name twice; the last one counts
    for name in open_zip(path).zip.namelist():
        inside = None
        if is_zip(name):
            with suppress(OSError, Unreadable):  # reading it names the reason
                inside = [f"{name}/{member}" for member in open_zip(path, name).zip.namelist()]
        names.update(dict.fromkeys([name] if inside is None else inside))
        if len(names) > MAX_MEMBERS:
            raise Unreadable("too large", f"more than {MAX_MEMBERS:,} files in it: unpack it", path)
    return list(names)


def listing_bytes(file: BinaryIO) -> int:
    """The size of a zip's list of members, in bytes, as its last record says: known before the list is read."""
    file.seek(max(0, file.seek(0, os.SEEK_END) - (1 << 16) - 22 - 20 - 56))  # behind at most 64 KB of comment
    end = file.read()
    # As `zipfile` finds it: at the very end, else the last one.
    at = len(end) - 22 if end[-22:-18] == b"PK\5\6" and end[-2:] == b"\0\0" else end.rfind(b"PK\5\6")
    if at < 0:
        return 0
    size = int.from_bytes(end[at + 12 : at + 16], "little")
    if at >= 20 and end[at - 20 : at - 16] == b"PK\6\7":  # zip64: a longer record before that counts
        starts = (match.start() for match in re.finditer(rb"PK\x06\x06", end[:at]))
        size = max((int.from_bytes(end[start + 40 : start + 48], "little") for start in starts), default=size)
    return size


def close_all() -> None:
    """Forget all open zips; each is closed when the last one who reads it is done, and opened anew when asked for."""
    _open_nested.cache_clear()
    _open.cache_clear()


def _archive(file: str | IO[bytes]) -> Archive:
    """Names that are not said to be UTF-8 are so nonetheless where they can be: macOS writes such zips."""
    try:
        opened = zipfile.ZipFile(file, metadata_encoding="utf-8")
    except UnicodeDecodeError:
        opened = zipfile.ZipFile(file)
    return Archive(opened, threading.Lock())


@lru_cache(maxsize=128)  # shards are read in turn; a process may have 256 files open on some systems
def _open(path: str, *_stamp: int) -> Archive:
    """The stamp is the process's, and the file's: a zip that was replaced is read anew."""
    return _archive(path)


@lru_cache(maxsize=4)
def _open_nested(archive: Archive, info: zipfile.ZipInfo, *_stamp: int) -> Archive:
    if info.file_size > MAX_NESTED:
        detail = f"a zip inside a zip, {info.file_size:,} bytes; the limit is {MAX_NESTED:,}: unpack the outer one"
        raise Unreadable("too large", detail)
    copy = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the zip, and gone with it
    with archive.lock:
        member = archive.zip.open(info)
    try:
        while piece := member.read(COPIED):
            if not copy.tell() and not piece.startswith(b"PK"):
                raise Unreadable("damaged zip", "it does not begin as a zip")
            copy.write(piece)
            interrupts.stop_if_requested()
    finally:
        with archive.lock:
            member.close()
    if (listing := listing_bytes(copy)) > MAX_LISTING:
        detail = (
            f"a zip inside a zip, whose list of files has {listing:,} bytes; the limit is {MAX_LISTING:,}: unpack it"
        )
        raise Unreadable("too large", detail)
    return _archive(copy)
