"""What a folder holds before it is understood: its images by their ids, its tables, and what the user says of them."""

import os
import re
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePath

import pandas as pd

from painters_mtl.common.errors import UserError
from painters_mtl.common.messages import in_singular
from painters_mtl.data.csv_table import TableFile
from painters_mtl.data.folder_levels import FolderLevels, resolve_folders
from painters_mtl.data.known_names import is_generic_folder, part_of_name
from painters_mtl.data.settings import LabelSettings
from painters_mtl.images.cache import file_stamps
from painters_mtl.images.files import ImageFile


@dataclass
class Collection:
    """One folder, listed. A reader gets it and returns a `Reading`."""

    folder: Path
    images: dict[str, ImageFile]  # by id, see `images_by_id`
    tables: list[TableFile]
    settings: LabelSettings
    notes: list[str] = field(default_factory=list)  # a sentence, with counts, for all that is left out or put right

    def note(self, count: int, sentence: str) -> None:
        """Add the note "COUNT SENTENCE", unless the count is 0."""
        add_note(self.notes, count, sentence)

    def levels(self) -> FolderLevels:
        """What the folders of the images say."""
        return resolve_folders(Counter(map(folder_of, self.images)))

    def base(self, table: TableFile) -> str:
        """The folder of a table, from which its file names start: a path below the data folder, "" for that itself."""
        inside = table.member.rpartition("/")[0]
        place = os.path.relpath(table.path.parent, self.folder)
        if place.startswith(".."):  # a table from elsewhere, by --table
            return ""
        if table.member and not inside:
            inside = table.path.stem
        return "/".join(part for part in (PurePath(place).as_posix(), inside) if part not in ("", "."))


@dataclass
class Reading:
    """What a reader made of a collection.

    `rows` has the columns id, file and member, and any of the catalogue's others and the user's own tasks; `sentence`
    says what was taken for what, and becomes the first note.
    """

    layout: str
    sentence: str
    rows: pd.DataFrame


def add_note(notes: list[str], count: int, sentence: str) -> None:
    """Append "COUNT SENTENCE" to the notes, unless the count is 0."""
    if count:
        notes.append(in_singular(f"{count:,} {sentence}"))


def folder_of(image_id: str) -> str:
    """The folder of an image, below the data folder."""
    return image_id.rpartition("/")[0]


# ------------------------------------------------------------------------------------------------- images


_INNER_ZIP = re.compile(r"\.zip/", re.IGNORECASE)


def images_by_id(folder: Path, images: Sequence[ImageFile], notes: list[str]) -> dict[str, ImageFile]:
    """Images by their path below the folder; for members of a zip the path they would have, were it unpacked (see
    `_unpacked_paths`). The same path twice is the same picture: a replacement (the competition has some for damaged
    files) goes before a file, a file before a member of a zip. Only two zips may have different pictures of one name.
    """
    below = cache(lambda parent: PurePath(os.path.relpath(parent, folder)).as_posix().removeprefix("."))
    named: list[tuple[str, ImageFile]] = []
    zipped: dict[str, list[ImageFile]] = {}
    for image in images:
        parent, _, name = image.path.rpartition(os.sep)
        if image.member:
            zipped.setdefault(image.path, []).append(image)
        else:
            named.append((f"{below(parent)}/{name}".lstrip("/"), image))
    files = {image_id for image_id, _ in named}
    for path, members in zipped.items():
        named += zip(_unpacked_paths(path, below(path.rpartition(os.sep)[0]), members, files), members, strict=True)
    different: dict[str, list[ImageFile]] = {}
    for image_id, image in sorted(named, key=lambda item: image_rank(*item)):
        known = different.setdefault(image_id, [])
        if all(_is_another(one, image, image_id) for one in known):
            known.append(image)
    by_id = {image_id: first for image_id, (first, *_) in different.items()}
    for image_id, (_, *others) in different.items():
        for image in others:
            by_id.setdefault(f"{PurePath(image.path).stem}/{image_id}", image)
    twice = len(images) - len(by_id)
    add_note(notes, twice, "images are there twice, in a folder and a zip or in two zips; one of each is used.")
    # A table, its CSV and a checksum of it are text.
    text = {i: image for i, image in by_id.items() if i.isascii() or i.encode(errors="ignore").decode() == i}
    add_note(notes, len(by_id) - len(text), "images have names that are not UTF-8 and are left out: rename them.")
    return text


def _unpacked_paths(path: str, place: str, members: Sequence[ImageFile], files: Container[str]) -> list[str]:
    """The paths that the members of a zip would have, were it unpacked; so for a zip inside it.

    That is into its own folder, `place`; but into a folder of the zip's name where it has been unpacked there, where
    that name says the part of a split (train.zip) and no folder in it does, and for members without a folder.

    Args:
        files: the ids of the files that are no zip's members.
    """
    stem = PurePath(path).stem
    inside = [_INNER_ZIP.sub("/", image.member.replace("\\", "/").lstrip("/")) for image in members]
    apart = any(f"{place}/{stem}/{name}".lstrip("/") in files for name in inside) or bool(
        part_of_name(stem) and not any(map(part_of_name, {name.split("/", 1)[0] for name in inside}))
    )
    return [f"{place}/{name if '/' in name and not apart else f'{stem}/{name}'}".lstrip("/") for name in inside]


def _is_another(first: ImageFile, image: ImageFile, image_id: str) -> bool:
    """Whether two zips hold different pictures of one path, neither of which is there to replace the other."""
    if first.path == image.path or not (first.member and image.member):
        return False
    if any("replacement" in image_place(image_id, one) for one in (first, image)):
        return False
    one, other = file_stamps((first, image))
    return one != other


def image_place(image_id: str, image: ImageFile) -> str:
    """Where an image is below the data folder, with the zip's name, in lower case."""
    return f"{image.path.rsplit(os.sep, 1)[-1]}/{image_id}".lower() if image.member else image_id.lower()


def image_rank(image_id: str, image: ImageFile) -> tuple[bool, bool]:
    """What goes first where two images have one name: replacements, then files."""
    return "replacement" not in image_place(image_id, image), bool(image.member)


_SMALLER = re.compile(r"(^|[-_ ])(resized|thumb(nail)?s?|small|preview?s?|\d+x\d+|\d+px)($|[-_ ])", re.IGNORECASE)


def without_small_copies(images: Mapping[str, ImageFile], notes: list[str]) -> dict[str, ImageFile]:
    """The images without those in folders such as resized/ and thumbnails/ that are there in another folder too."""
    smaller = {
        folder
        for folder in {folder_of(image_id) for image_id in images}
        if any(is_generic_folder(name) and _SMALLER.search(name) for name in folder.split("/"))
    }
    kept = {i: image for i, image in images.items() if folder_of(i) not in smaller}
    if not smaller or not kept:
        return dict(images)
    by_name: dict[str, list[str]] = {}
    for image_id in kept:
        by_name.setdefault(image_id.rsplit("/", 1)[-1], []).append(image_id)

    def is_copy(image_id: str) -> bool:
        *folders, name = image_id.split("/")
        plain = [folder for folder in folders if not _SMALLER.search(folder)]
        if "/".join([*plain, name]) in kept:
            return True
        last = max(i for i, folder in enumerate(folders) if is_generic_folder(folder))
        tail = "/" + "/".join([*folders[last + 1 :], name])
        return sum(f"/{other}".endswith(tail) for other in by_name.get(name, ())) == 1

    result = {i: image for i, image in images.items() if folder_of(i) not in smaller or not is_copy(i)}
    names = ", ".join(sorted({folder.split("/")[0] for folder in smaller}))
    add_note(notes, len(images) - len(result), f"images in {names} are smaller copies of others and are left out.")
    return result


# ------------------------------------------------------------------------------------------------- rows to images


def join_images(collection: Collection, rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """The rows whose column `id` ("" for none) is that of an image, with the columns file and member.

    What is left over on either side is noted. Raises `UserError` when nothing fits.
    """
    images, notes = collection.images, collection.notes
    matched = rows[[image_id in images for image_id in rows["id"]]]
    if matched.empty:
        raise UserError(
            f"{collection.folder}: none of the {len(rows):,} rows of {name} (such as "
            f"{next(iter(rows['filename']), '')!r}) names one of the {len(images):,} images found (such as "
            f"{next(iter(images), '')!r}); put the images into the folder, or correct the file names"
        )
    again = matched["id"].duplicated()
    count = int(again.sum())
    add_note(notes, count, f"rows of {name} name an image that an earlier row names; the earlier row counts.")
    missing = len(rows) - len(matched)
    add_note(notes, missing, f"of the {len(rows):,} rows of {name} have no image here and are left out.")
    matched = matched[~again]
    extra = len(images) - len(matched)
    add_note(notes, extra, f"of the {len(images):,} images have no row in {name} and are left out.")
    where = [images[i] for i in matched["id"]]
    return with_files(matched, where)


def with_files(rows: pd.DataFrame, images: Sequence[ImageFile]) -> pd.DataFrame:
    """The rows with the columns file and member, for the image of each."""
    paths, members = [image.path for image in images], [image.member for image in images]
    return rows.assign(file=pd.Series(paths, rows.index, object), member=pd.Series(members, rows.index, object))
