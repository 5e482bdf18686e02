"""The one place where pictures are found and opened: any file, folder or zip member; `decoding` makes them pixels.

    for file in images.find("paintings/"):            # folders, files, zips read in place
        try:
            picture = images.load(file, square=224)   # picture.pixels: uint8, (224, 224, 3)
        except images.Unreadable as refusal:
            print(refusal)                            # one sentence: path, reason, detail

What cannot be read is refused with one of `errors.REASONS` and its path.
"""

import errno
import os
import re
import stat
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any

from painters_mtl.common.errors import Unreadable, UserError, display_path, shorten
from painters_mtl.images.decode import HEAD, MAX_PIXELS, Picture, decode, kind

MAX_BYTES = 1 << 30  # of one file or zip member
MANY_BYTES = 1 << 24  # of so large a file the first bytes are looked at before the others are read
_PICTURE_NAME = re.compile(
    r".+\.(jpe?g|jpe|jfif|jif|mpo|a?png|webp|gif|bmp|dib|tiff?|avif|p[pgbn]m"
    r"|heic|heif|jp2|jxl)",  # not read, but found, so that they are refused rather than overlooked
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True, order=True)
class ImageFile:
    """A picture on disk (`member` is empty) or inside a zip at `path`. Only a name: nothing is opened before `read`."""

    path: str
    member: str = ""

    @classmethod
    def of(cls, path: "ImageFile | str | Path") -> "ImageFile":
        """From a path, or from what `str(ImageFile)` gave: `folder/train_1.zip/train_1/x.jpg` is a zip's member."""
        if isinstance(path, ImageFile):
            return path
        path = str(path)
        for end in (m.end() - 1 for m in re.finditer(r"\.zip/(?=.)", path, re.IGNORECASE)):
            if Path(path[:end]).is_file():
                return cls(path[:end], path[end + 1 :])
        return cls(path)

    def __str__(self) -> str:
        return f"{self.path}/{self.member}" if self.member else self.path

    @property
    def name(self) -> str:
        """The last part: `x.jpg`."""
        return str(self).rsplit("/", 1)[-1]

    def is_at(self, path: Path) -> bool:
        """Whether it is the very file at `path`: what a verb has drawn there before is no painting."""
        try:
            return not self.member and Path(self.path).samefile(path)
        except (OSError, ValueError):
            return False

    def read(self) -> bytes:
        """The file's bytes. Raises `Unreadable`; never waits for a pipe or a device."""
        try:
            if self.member:
                return self._read_member()
            info = Path(self.path).stat()
            if stat.S_ISDIR(info.st_mode):
                if not os.access(self.path, os.R_OK | os.X_OK):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
                raise Unreadable("not an image", "a folder", self.path)
            if not stat.S_ISREG(info.st_mode):
                raise Unreadable("not an image", "a pipe or a device", self.path)
            if _is_zip(self.path):
                _zip(self.path)
                raise Unreadable("not an image", "a zip: name one of its members", self.path)
            with Path(self.path).open("rb") as file:
                return _bounded(file, info.st_size, self)
        except OSError as error:
            raise Unreadable(_os_reason(error), error.strerror or "", str(self)) from error
        except ValueError as error:  # a NUL in the path
            raise Unreadable("missing", str(error), str(self)) from error

    def _read_member(self) -> bytes:
        try:
            archive, lock = _zip(self.path)
            with lock:  # the archive counts its open members
                info = archive.getinfo(self.member)
                member = archive.open(info)
            try:
                return _bounded(member, info.file_size, self)
            finally:
                with lock:
                    member.close()
        except (OSError, Unreadable):
            raise
        except KeyError as error:
            raise Unreadable("missing", "the zip has no such member", str(self)) from error
        except Exception as error:  # BadZipFile, zlib.error, EOFError, RuntimeError (password), NotImplementedError
            raise Unreadable("damaged zip", shorten(error), str(self)) from error


def find_images(*roots: str | Path) -> list[ImageFile]:
    """All pictures under folders, in zips, or named directly; each root in turn, numbers in natural order, none twice.

    In folders and zips a picture is known by its suffix (any case); hidden files and macOS's resource forks
    are passed over, symbolic links are followed. What is named directly is taken whatever it is called; inside a zip
    (`a.zip/x.jpg`) that may also be a folder or a pattern. A folder or zip that cannot be opened is listed itself, so
    that `read` names the reason. Raises `UserError` for a missing root.
    """
    found: dict[ImageFile, None] = {}
    for root in map(ImageFile.of, roots):
        if not os.path.lexists(root.path):
            raise UserError(f"there is no file or folder {display_path(root.path)}")
        if root.member:
            files = _inside(root)
        elif Path(root.path).is_dir():
            files = [f for path in _walk(root.path) for f in _members(path)]
        else:
            files = _members(root.path)
        found.update(dict.fromkeys(sorted(files, key=lambda f: (_natural(f.path), _natural(f.member), f))))
    return list(found)


def load_image(
    file: ImageFile | str | Path, square: int | None = None, longest: int | None = None, max_pixels: int = MAX_PIXELS
) -> Picture:
    """Read and `decode` one file. Raises `Unreadable`."""
    file = ImageFile.of(file)
    return decode(file.read(), square, longest, max_pixels, str(file))


def _walk(folder: str) -> Iterator[str]:
    """Paths of pictures and zips under a folder; a sub-folder that cannot be listed is given itself."""
    waiting, seen = [folder], set()
    while waiting:
        here = waiting.pop()
        try:
            info = Path(here).stat()
            if (info.st_dev, info.st_ino) in seen:  # a loop of links
                continue
            seen.add((info.st_dev, info.st_ino))
            with os.scandir(here) as listing:
                entries = sorted(listing, key=lambda e: e.name, reverse=True)
        except OSError:
            yield here
            continue
        for entry in entries:
            if entry.name.startswith(".") or entry.name == "__MACOSX":
                continue
            if _is_folder(entry):
                waiting.append(entry.path)
            elif _is_picture(entry.name) or _is_zip(entry.name):
                yield entry.path


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link into what may not be entered, or in a circle
        return False


def _members(path: str) -> list[ImageFile]:
    """A file itself, or the pictures in a zip; a zip that cannot be opened stands for itself."""
    try:
        names = _zip(path)[0].namelist() if _is_zip(path) and Path(path).is_file() else None
    except (OSError, Unreadable):
        names = None
    if names is None:
        return [ImageFile(path)]
    parts = ((name, name.split("/")) for name in dict.fromkeys(names))
    hidden = (".", "__MACOSX")
    return [ImageFile(path, n) for n, p in parts if _is_picture(p[-1]) and not any(q.startswith(hidden) for q in p)]


def _inside(root: ImageFile) -> list[ImageFile]:
    """What a member of a zip, a folder in it or a pattern (`a.zip/in/*.png`) names. Raises `UserError` for nothing."""
    try:
        names = _zip(root.path)[0].namelist()
    except (OSError, Unreadable):
        return [root]  # reading it tells why
    if root.member in names and not root.member.endswith("/"):
        return [root]
    folder = root.member.rstrip("/") + "/"
    found = [f for f in _members(root.path) if f.member.startswith(folder) or fnmatchcase(f.member, root.member)]
    if not found:
        raise UserError(f"{display_path(root.path)} holds no picture {display_path(root.member)}")
    return found


def _zip(path: str) -> tuple[zipfile.ZipFile, threading.Lock]:
    """The zip, opened once for each process. Raises `OSError` or `Unreadable`."""
    info = Path(path).stat()
    try:
        return _open_zip(path, os.getpid(), info.st_mtime_ns, info.st_size)
    except OSError:
        raise
    except Exception as error:
        raise Unreadable("damaged zip", shorten(error), path) from error


@lru_cache(maxsize=32)
def _open_zip(path: str, pid: int, *stamp: int) -> tuple[zipfile.ZipFile, threading.Lock]:
    # `pid`: a forked child shares the position of its parent's file; `stamp`: a zip that was replaced is read anew.
    return zipfile.ZipFile(path), threading.Lock()


def _bounded(file: Any, size: int, name: ImageFile) -> bytes:
    if size > MAX_BYTES:
        raise Unreadable("too large", f"{size:,} bytes, the limit is {MAX_BYTES:,}", str(name))
    if size > MANY_BYTES:
        try:
            kind(file.read(HEAD))
        except Unreadable as error:
            raise Unreadable(error.reason, error.detail, str(name)) from None
        file.seek(0)
    return file.read(size)  # no more: of a zip's member the size is what it says of itself


def _os_reason(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "no permission"
    gone = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)
    return "missing" if error.errno in gone else "read error"


def _is_picture(name: str) -> bool:
    return _PICTURE_NAME.fullmatch(name) is not None


def _is_zip(name: str) -> bool:
    return name.lower().endswith(".zip")


def _natural(text: str) -> str:
    """A key that sorts `2.jpg` before `10.jpg`: every number is led by its count of digits."""
    return re.sub("[0-9]+", lambda m: f"{len(m[0].lstrip('0')):05}{m[0]}", text)
