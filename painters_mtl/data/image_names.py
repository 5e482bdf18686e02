"""Which image a file name in a table means, however it is written."""

import os
import posixpath
import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from urllib.parse import unquote

from painters_mtl.data.values import clean
from painters_mtl.images.names import PICTURE_ENDINGS

_ENDING = re.compile(rf"\.({PICTURE_ENDINGS})$")


class ImageNames:
    """The ids of a folder's images (paths below it), to be asked which of them a file name means."""

    def __init__(self, folder: Path, ids: Collection[str]):
        self.folder, self.root, self.ids = f"{folder.absolute()}/", str(folder.resolve()), ids
        self.inside: dict[str, str | None] = {}  # of absolute paths of folders: where they are below the data folder
        self.folders: dict[str, bool] = {}  # of absolute paths: whether they are there
        self.indexes: dict[Callable[[str], str], dict[str, list[tuple[str, str]]]] = {}

    def match(self, names: Sequence[str], base: str = "") -> list[list[str]]:
        """For each file name the ids that it can mean: one, several (it is not clear which), or none.

        A name is a path below `base` (the table's own folder) or the data folder, or the end of the path of an image.
        Where none fits, these do, unless another name means that image already: another case, no ending, no zeros
        before a number, and of a path that begins elsewhere the whole path of an image at its end. Of absolute paths
        the last part is enough where no two of the `names` share it and no folder is called as one here. Paths that
        lead to other files mean none.
        """
        plain = [_plain(name) for name in names]
        ids: dict[str, list[str]] = {}
        unmatched: list[str] = []
        for name in dict.fromkeys(plain):
            place = self._place(name, base)
            ids[name] = [place] if place in self.ids else self._by_end(place, clean)
            if place and not ids[name]:
                unmatched.append(name)
        lasts = Counter(map(_last, ids))
        folders_here = {folder for image_id in self.ids for folder in image_id.split("/")[:-1]}
        renamed = folders_here.isdisjoint(folder for name in ids for folder in name.split("/")[:-1])

        def loosely(name: str, spelling: Callable[[str], str]) -> list[str]:
            absolute = name.startswith("/")
            fitting = [] if absolute else self._by_end(name, spelling)
            if fitting or "/" not in name.lstrip("/"):
                return fitting
            fitting = self._by_start(name, spelling, alone=lasts[_last(name)] == 1)
            if fitting or not absolute or not renamed or lasts[_last(name)] > 1:
                return fitting
            return self._by_end(_last(name), spelling)

        for spelling in (clean, _any_case, _no_ending, _no_zeros):
            if not unmatched:
                break
            claimed = {image_id for fitting in ids.values() for image_id in fitting}
            for name in unmatched:
                ids[name] = [i for i in loosely(name, spelling) if i not in claimed]
            unmatched = [name for name in unmatched if not ids[name]]
        return [ids[name] for name in plain]

    def _place(self, name: str, base: str) -> str:
        """The path below the data folder, as far as the name says it; "" where it leads to another file."""
        if not name or (not base and name in self.ids):
            return name
        if name.startswith("/"):
            if name.startswith(self.folder):
                return name[len(self.folder) :]
            above, _, last = name.rpartition("/")
            if not self._is_folder(above):
                return name
            if (below := self._inside(above)) is not None:
                return f"{below}/{last}".lstrip("/")
            return "" if _is_there(name, Path.exists) else name
        inside = posixpath.normpath(f"{base}/{name}" if base else name)
        if inside in self.ids or ".." in name.split("/"):
            return "" if inside.startswith("../") else inside
        return posixpath.normpath(name)

    def _inside(self, path: str) -> str | None:
        """Where a folder is below the data folder, by whatever links its path leads; None where it is not below it."""
        if path not in self.inside:
            parents = [path, *map(str, Path(path).parents)]
            above = next((parent for parent in parents if os.path.realpath(parent) == self.root), None)
            self.inside[path] = None if above is None else path[len(above) :].strip("/")
        return self.inside[path]

    def _is_folder(self, path: str) -> bool:
        if path not in self.folders:
            self.folders[path] = _is_there(path or "/", Path.is_dir)
        return self.folders[path]

    def _by_end(self, name: str, spelling: Callable[[str], str]) -> list[str]:
        """The images whose path ends so."""
        if not name:
            return []
        end = f"/{spelling(name)}"
        return [image_id for image_id, path in self._index(spelling).get(_last(end), ()) if path.endswith(end)]

    def _by_start(self, name: str, spelling: Callable[[str], str], alone: bool) -> list[str]:
        """The image whose whole path a longer one ends with; one without a folder only for a name that stands alone."""
        end = f"/{spelling(name)}"
        candidates = self._index(spelling).get(_last(end), ())
        fitting = [i for i, path in candidates if end.endswith(path) and (alone or path.count("/") > 1)]
        return [max(fitting, key=len)] if fitting else []

    def _index(self, spelling: Callable[[str], str]) -> dict[str, list[tuple[str, str]]]:
        """{last part of the path, so spelt: [(id, whole path so spelt, from "/" on)]}, made when it is needed."""
        if spelling not in self.indexes:
            index: dict[str, list[tuple[str, str]]] = {}
            for image_id in self.ids:
                path = f"/{spelling(image_id)}"
                index.setdefault(_last(path), []).append((image_id, path))
            self.indexes[spelling] = index
        return self.indexes[spelling]


def _is_there(path: str, kind: Callable[[Path], bool]) -> bool:
    """False also for what can be no path here, such as an address that is too long for one."""
    try:
        return kind(Path(path))
    except OSError:
        return False


def _last(path: str) -> str:
    return path.rsplit("/", 1)[-1]


def _plain(name: str) -> str:
    """With slashes, without "./", and from the root where it starts with a drive or the host of an address."""
    name = name.strip().replace("\\", "/")
    if "://" in name:
        name = unquote(re.sub(r"[?#].*", "", name))
    if ":" in name:
        name = re.sub(r"^[a-z]+://[^/]*(?=/)|^[A-Za-z]:(?=/)", "", name)
    return name.removeprefix("./")


def _any_case(name: str) -> str:
    return clean(name).casefold()


def _no_ending(name: str) -> str:
    return _ENDING.sub("", _any_case(name))


def _no_zeros(name: str) -> str:
    """Without the ending, and numbers as a spreadsheet would leave them: 00012.jpg and 12.0 are 12."""
    folder, slash, last = _no_ending(name).rpartition("/")
    number = re.fullmatch(r"0*(\d+)(\.0)?", last)
    return folder + slash + (number[1] if number else last)
