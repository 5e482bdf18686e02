"""Which image a file name in a table means, however it is written."""

import posixpath
import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path, PurePosixPath

from painters_mtl.data.values import clean

_ENDING = re.compile(r"\.(jpe?g|jpe|jfif|png|webp|gif|bmp|tiff?|avif|ppm|pgm|heic|heif|jp2)$")


class ImageNames:
    """The ids of a folder's images (paths below it), to be asked which of them a file name means."""

    def __init__(self, folder: Path, ids: Collection[str]):
        self.folder, self.ids = folder.absolute(), ids
        self.indexes: dict[Callable[[str], str], dict[str, list[str]]] = {}

    def match(self, names: Sequence[str], base: str = "") -> list[list[str]]:
        """For each file name the ids that it can mean: one, several (it is not clear which), or none.

        A name is a path below `base` (the table's own folder) or the data folder, or the end of the path of an image.
        Where none fits, these do, unless another name means that image already: another case, no ending, no zeros
        before a number, and of a path that begins elsewhere (absolute, or in a folder that is not here) its end, or
        its last name where no two of the `names` share one. Paths that lead to other files mean none.
        """
        plain = [_plain(name) for name in names]
        ids: dict[str, list[str]] = {}
        unmatched: list[str] = []
        for name in dict.fromkeys(plain):
            place = self._place(name, base)
            ids[name] = [place] if place in self.ids else self._by_end(place, clean)
            if place and not ids[name]:
                unmatched.append(name)
        lasts: dict[str, int] = {}
        for name in ids:
            lasts[_last(name)] = lasts.get(_last(name), 0) + 1

        def loosely(name: str, spelling: Callable[[str], str]) -> list[str]:
            if not PurePosixPath(name).is_absolute() and (fitting := self._by_end(name, spelling)):
                return fitting
            return self._moved(name, spelling, last_is_enough=lasts[_last(name)] == 1)

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
        if not name:
            return ""
        path = PurePosixPath(name)
        if path.is_absolute():
            if path.is_relative_to(self.folder):
                return path.relative_to(self.folder).as_posix()
            return "" if Path(path).exists() else name
        inside = posixpath.normpath(posixpath.join(base, name))
        if inside in self.ids or ".." in path.parts:
            return "" if inside.startswith("..") else inside
        return str(path)

    def _by_end(self, name: str, spelling: Callable[[str], str]) -> list[str]:
        """The images whose path ends so."""
        if not name:
            return []
        end = spelling(name)
        return [i for i in self._index(spelling).get(_last(end), ()) if f"/{spelling(i)}".endswith(f"/{end}")]

    def _moved(self, name: str, spelling: Callable[[str], str], last_is_enough: bool) -> list[str]:
        """The images for a path that begins in a folder that is not here."""
        if "/" not in name.lstrip("/"):
            return []
        end = f"/{spelling(name)}"
        candidates = self._index(spelling).get(_last(end), [])
        whole = [i for i in candidates if end.endswith(f"/{spelling(i)}")]
        return [max(whole, key=len)] if whole else candidates if last_is_enough else []

    def _index(self, spelling: Callable[[str], str]) -> dict[str, list[str]]:
        """{last part of the path, so spelt: ids}, made when it is needed."""
        if spelling not in self.indexes:
            index: dict[str, list[str]] = {}
            for image_id in self.ids:
                index.setdefault(spelling(_last(image_id)), []).append(image_id)
            self.indexes[spelling] = index
        return self.indexes[spelling]


def _last(path: str) -> str:
    return path.rsplit("/", 1)[-1]


def _plain(name: str) -> str:
    """With slashes, without "./", and from the root where it starts with a drive or the host of an address."""
    name = name.strip().replace("\\", "/")
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
