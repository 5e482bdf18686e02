"""The one place where pictures are found and opened: any file, folder or zip member; `decode` makes them pixels.

    for file in find_images("paintings/"):            # folders, files, zips read in place
        try:
            picture = load_image(file, square=224)    # picture.pixels: uint8, (224, 224, 3)
        except Unreadable as refusal:
            print(refusal)                            # one sentence: path, reason, detail

What cannot be read is refused with one of `errors.REASONS` and its path.
"""

import errno
import functools
import glob
import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from painters_mtl.common.errors import Unreadable, UserError, display_path, shorten
from painters_mtl.images import zips
from painters_mtl.images.decode import HEAD, MAX_PIXELS, Picture, decode, kind
from painters_mtl.images.names import (
    EXPLAINED,
    EXTRA_NAME,
    RAW_NAME,
    is_passed_over,
    is_picture_name,
    is_run_folder,
    natural_key,
)
from painters_mtl.images.zips import is_zip

MAX_BYTES = 1 << 30  # of one file or zip member
MANY_BYTES = 1 << 24  # of so large a file the first bytes are looked at before the others are read


def real_paths(paths: Iterable[str]) -> dict[str, str]:
    """Where each path leads, behind all links. They are followed once for each folder, not for each file in it."""
    folders, real = functools.cache(os.path.realpath), {}
    for path in dict.fromkeys(paths):
        folder, name = os.path.split(path)
        if "\0" in path:  # no such file can be
            real[path] = path
        elif name in ("", ".", "..") or os.path.islink(path):  # noqa: PTH114
            real[path] = folders(path)
        else:
            real[path] = os.path.join(folders(folder), name)  # noqa: PTH118 - 100,000 paths
    return real


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
            self._refuse_raw()
            if is_zip(self.path):
                zips.member_names(self.path)  # raises where they cannot be listed
                raise Unreadable("not an image", "a zip: name one of its members", self.path)
            with Path(self.path).open("rb") as file:
                return _bounded(file, info.st_size, self)
        except OSError as error:
            raise Unreadable(_os_reason(error), error.strerror or "", str(self)) from error
        except ValueError as error:  # a NUL in the path
            raise Unreadable("missing", str(error), str(self)) from error

    def _refuse_raw(self) -> None:
        if RAW_NAME.fullmatch(self.name):
            raise Unreadable("unsupported format", "a camera's raw file: save it as TIFF or JPEG", str(self))

    def _read_member(self) -> bytes:
        try:
            self._refuse_raw()
            (archive, lock), info = zips.find_member(self.path, self.member)
            if is_zip(self.member):
                if self.member not in zips.open_zip(self.path).zip.NameToInfo:
                    raise Unreadable("unsupported format", "a zip inside a zip inside a zip: unpack one", str(self))
                zips.open_zip(self.path, self.member)
                raise Unreadable("not an image", "a zip: name one of its members", str(self))
            with lock:  # the archive counts its open members
                stream = archive.open(info)
            try:
                return _bounded(stream, info.file_size, self)
            finally:
                with lock:
                    stream.close()
        except (OSError, Unreadable):
            raise
        except KeyError as error:
            raise Unreadable("missing", "the zip has no such member", str(self)) from error
        except Exception as error:  # BadZipFile, zlib.error, EOFError, RuntimeError (password), NotImplementedError
            raise Unreadable("damaged zip", shorten(error), str(self)) from error


def images_from_arguments(paths: Iterable[str | Path]) -> list[ImageFile]:
    """The pictures that a command line names: folders, zips, files, patterns, or - for a list on standard input.

    A pattern that is no file stands for what fits it. What a list names and is not there becomes a picture that says so
    when it is read; what the command line names must be there. Raises `UserError` where it is not, and where nothing
    fits a pattern.
    """
    files: dict[ImageFile, None] = {}
    for path in map(str, paths):
        if path == "-":
            lines = sys.stdin.buffer.read().split(b"\n")
            listed = [ImageFile.of(os.fsdecode(line.removesuffix(b"\r"))) for line in lines if line.strip()]
            for file in listed:
                there = not file.member and os.path.lexists(file.path)
                files.update(dict.fromkeys(find_images(file.path) if there else [file]))
        elif glob.has_magic(path) and not os.path.lexists(path) and not ImageFile.of(path).member:
            files.update(dict.fromkeys(find_images(*_fitting(path))))
        else:
            files.update(dict.fromkeys(find_images(path)))
    return list(files)


def _fitting(pattern: str) -> list[str]:
    """The files and folders that fit a pattern. Raises `UserError` where there is none."""
    named = set(Path(pattern).parts)
    paths = [
        path
        for path in sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - pathlib's wants a relative pattern
        if not any(is_passed_over(part) for part in set(Path(path).parts) - named)
    ]
    if not paths:
        raise UserError(f"no file fits the pattern {pattern}")
    return paths


def find_images(*roots: str | Path) -> list[ImageFile]:
    """All pictures under folders, in zips, or named directly; each root in turn, numbers in natural order, none twice.

    In folders and zips a picture is known by its suffix (any case); hidden files, what systems keep there for
    themselves (`is_passed_over`), folders of runs and of `explain`'s sheets, and a raw or Photoshop file beside a
    picture of its name are passed over, symbolic links are followed. A zip inside a zip is a folder. What is
    named directly is taken whatever it is called; inside a zip (`a.zip/x.jpg`) that may also be a folder or a pattern.
    A folder or zip that cannot be opened is listed itself, so that `read` names the reason. Raises `UserError` for a
    missing root.
    """
    all_files: dict[ImageFile, None] = {}
    for root in map(_plain, map(ImageFile.of, roots)):
        if not os.path.lexists(root.path):
            raise UserError(f"there is no file or folder {display_path(root.path)}")
        if root.member:
            files = _inside(root)
        elif Path(root.path).is_dir():
            files = [f for path in _walk(root.path) for f in _members(path)]
        else:
            files = _members(root.path)
        all_files.update(dict.fromkeys(sorted(files, key=lambda f: (natural_key(f.path), natural_key(f.member), f))))
    return list(all_files)


def without(files: Iterable[ImageFile], path: Path) -> list[ImageFile]:
    """The pictures without the file at `path`: a sheet that a verb wrote there before is no painting."""
    try:
        drawn = path.stat()
    except (OSError, ValueError):  # nothing is there
        return list(files)

    def is_drawn(file: ImageFile) -> bool:
        try:
            return not file.member and os.path.samestat(os.stat(file.path), drawn)  # noqa: PTH116 - 100,000 paths
        except (OSError, ValueError):
            return False

    return [file for file in files if not is_drawn(file)]


def holds_images(folder: str | Path, besides: str) -> bool:
    """Whether there is a picture under a folder or in its zips, but for files that have `besides` in their names.

    Looks no further than to the first one.
    """
    return any(_members(path) for path in _walk(str(folder)) if besides not in Path(path).name)


def load_image(
    file: ImageFile | str | Path, square: int | None = None, longest: int | None = None, max_pixels: int = MAX_PIXELS
) -> Picture:
    """Read and `decode` one file. Raises `Unreadable`."""
    file = ImageFile.of(file)
    return decode(file.read(), square, longest, max_pixels, str(file))


def _plain(root: ImageFile) -> ImageFile:
    """The same without what changes nothing in its path: `./scans/` is `scans`, so that no file in it has two names."""
    return ImageFile(str(Path(root.path)) if root.path else "", root.member)


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
        names = [entry.name for entry in entries]
        if here != folder and is_run_folder(here, names):
            continue
        pictures = {name for name in names if is_picture_name(name)}
        left_out = _extras_beside(pictures)
        if all(name.endswith(EXPLAINED) for name in pictures):  # a folder of sheets
            left_out = pictures
        for entry in entries:
            if is_passed_over(entry.name) or entry.name in left_out:
                continue
            if is_folder(entry):
                waiting.append(entry.path)
            elif entry.name in pictures or is_zip(entry.name):
                yield entry.path


def _extras_beside(pictures: set[str]) -> set[str]:
    """Those of a folder's pictures that a camera or a program keeps beside one of the same name that can be read."""
    extras = {name for name in pictures if EXTRA_NAME.fullmatch(name)}
    stems = {os.path.splitext(name)[0] for name in pictures - extras} if extras else set[str]()  # noqa: PTH122
    return {name for name in extras if os.path.splitext(name)[0] in stems}  # noqa: PTH122


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry of a folder is a folder, or a link to one, that may be entered."""
    try:
        return entry.is_dir()
    except OSError:  # a link into what may not be entered, or in a circle
        return False


def _members(path: str) -> list[ImageFile]:
    """A file itself, or the pictures in a zip; a zip that cannot be opened stands for itself."""
    try:
        names = zips.member_names(path) if is_zip(path) and Path(path).is_file() else None
    except (OSError, Unreadable):
        names = None
    if names is None:
        return [ImageFile(path)]
    return [
        ImageFile(path, name)
        for name, (*folders, last) in ((name, name.split("/")) for name in names)
        if (is_picture_name(last) or is_zip(last)) and not any(is_passed_over(part) for part in (*folders, last))
    ]


def _inside(root: ImageFile) -> list[ImageFile]:
    """What a member of a zip, a folder in it or a pattern (`a.zip/in/*.png`) names. Raises `UserError` for nothing."""
    try:
        named = zips.find_member(root.path, root.member).info
        if not named.is_dir() and not is_zip(root.member):
            return [root]
    except KeyError:  # a folder, a pattern
        pass
    except (OSError, Unreadable):
        return [root]  # reading it tells why
    folder = root.member.rstrip("/") + "/"
    files = [
        file
        for file in _members(root.path)
        if file == root or file.member.startswith(folder) or fnmatchcase(file.member, root.member)
    ]
    if not files:
        raise UserError(f"{display_path(root.path)} holds no picture {display_path(root.member)}")
    return files


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
