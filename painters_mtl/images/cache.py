"""Cached images: each picture is decoded and made small once; training then never touches the originals.

The cached images of a data folder are a folder with three files. `pixels.u8` holds them one after the other, each side
x side x 3 bytes: the whole picture squashed to a square, so that all have one shape and any is had by its number.
`thumbnails.u8` holds a small grey picture of each in the same order, by which near-copies are told; they and the
perceptual hashes are of one size whatever `side` is, so that the split does not depend on `--image-size`.
`manifest.journal` (see `common.journal`) has an entry for each picture: what it was made from, its perceptual hash, or
why it was refused. An entry is written after its pixels, so that a run that was killed goes on where it stood; what is
torn or lost at the end of a file is cut off, and made again. One process at a time writes.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from painters_mtl.common import interrupts
from painters_mtl.common.errors import Unreadable, UserError, may_pass
from painters_mtl.common.files import atomic_write, file_lock, remove_leftovers
from painters_mtl.common.journal import Journal, read_records, record_bytes
from painters_mtl.common.messages import ProgressBar
from painters_mtl.common.row_cache import content_checksum
from painters_mtl.images import decode, fingerprints, zips
from painters_mtl.images import files as images

VERSION = 4  # of the folder; another one is another folder
MARGIN = 1.25  # the cached images are larger than what the network sees by this, so that crops keep their detail
COMPARED_SIDE = 120  # side of the pictures that perceptual hashes and thumbnails are made of; that of 96 x MARGIN
CHUNK = 512  # pictures between two writes


@dataclass(frozen=True)
class ImageCache:
    """The cached images of a table of paintings, in its order."""

    pixels: np.ndarray  # uint8, (images, side, side, 3), of two inputs (images, 2, side, side, 3); in memory, or mapped
    rows: np.ndarray  # int64, (paintings,): which image is which painting's; -1: refused
    contents: np.ndarray  # str, (paintings,): checksums of the files; "" where refused
    hashes: np.ndarray  # uint64, (paintings,): perceptual hashes; 0 where refused
    thumbnails: np.ndarray  # uint8, (images, 32, 32): small grey pictures, whatever the side; `rows` says which
    refused: pd.DataFrame  # columns id, reason, detail
    repaired: pd.DataFrame  # columns id, repaired
    folder: Path


@dataclass(frozen=True)
class Entry:
    """What the manifest says of one picture."""

    id: str  # the picture's real place, see `_real_places`
    stamp: str  # see `file_stamps`
    row: int = -1  # which of the cached images; -1: refused
    content: str = ""  # checksum of the file
    width: int = 0
    height: int = 0
    hash: str = "0"  # the perceptual hash, as hexadecimal digits
    repaired: str = ""
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Made:
    """A picture's entry, its row still to be filled in, and its pixels; none where there is nothing new to keep."""

    entry: Entry
    image: np.ndarray | None = None
    thumbnail: np.ndarray | None = None


Entries = dict[str, Entry]  # by `Entry.id`; the last entry of a picture counts
Job = tuple[str, images.ImageFile, str]  # `Entry.id`, file, stamp


@dataclass(frozen=True)
class Place:
    """Where cached images of one shape are kept."""

    folder: Path
    shape: tuple[int, ...]  # of one: (side, side, 3), or (inputs, side, side, 3)

    @property
    def pixels(self) -> Path:
        """The file with the pixels of all."""
        return self.folder / "pixels.u8"

    @property
    def thumbnails(self) -> Path:
        """The file with the small grey picture of each."""
        return self.folder / "thumbnails.u8"

    @property
    def manifest(self) -> Path:
        """The journal of entries."""
        return self.folder / "manifest.journal"

    @property
    def size(self) -> int:
        """Bytes of one."""
        return int(np.prod(self.shape))

    def sound(self, entries: Entries) -> Entries:
        """Those of the entries whose pixels are there."""
        count = self.count()
        return {name: entry for name, entry in entries.items() if entry.row < count}

    def count(self) -> int:
        """How many are whole: of the last one, a process that writes or was killed may have pixels alone."""
        sizes = ((self.pixels, self.size), (self.thumbnails, fingerprints.THUMBNAIL**2))
        return min(file.stat().st_size // size if file.exists() else 0 for file, size in sizes)


def cache_side(image_size: int) -> int:
    """Side of the cached images for a network that sees `image_size` pixels."""
    return round(image_size * MARGIN)


def build_image_cache(
    table: pd.DataFrame,
    side: int,
    folder: Path,
    memory_gb: float = 4.0,
    workers: int | None = None,
    inputs: Sequence[str] = ("whole",),
) -> ImageCache:
    """The cached images of all pictures of `table` (columns id, file, member), made now where they are not there yet.

    Args:
        side: of the cached images, in pixels.
        folder: holds the caches; that of these pictures is a sub-folder, named after the data's place and `side`.
        memory_gb: larger caches are mapped from disk instead of read into memory.
        workers: threads; by default as many as there are cores.
        inputs: of the network: ("whole",), or ("whole", "detail"); see `decode.cached_image`.

    A picture is made again when its size and time (in a zip: its size and checksum) have changed and its content too.
    Raises `UserError` when the disk is too small or no picture can be read.
    """
    files = [images.ImageFile(file, member) for file, member in zip(table["file"], table["member"], strict=True)]
    root, places = _real_places(files)
    place = _place(root, side, Path(folder), len(inputs), VERSION)
    place.folder.mkdir(parents=True, exist_ok=True)
    jobs = list(zip(places, files, file_stamps(files), strict=True))
    entries = place.sound(_read(record.content for record in read_records(place.manifest)))
    if _todo(jobs, entries):  # a cache that has all of them may be read-only
        with file_lock(place.folder / "lock", f"caching images in {place.folder}", wait=True):
            remove_leftovers(place.folder, place.manifest.name)
            entries = _make(place, jobs, workers, inputs)
        for version in range(1, VERSION):
            shutil.rmtree(_place(root, side, Path(folder), len(inputs), version).folder, ignore_errors=True)
    return _open(place, table["id"].tolist(), [entries[name] for name in places], memory_gb)


def _real_places(files: Sequence[images.ImageFile]) -> tuple[str, list[str]]:
    """The folder that holds all files, links followed, and where each picture is below it.

    A picture's id is not enough: folders of links to one archive, or two collections whose common folder is the same,
    may have the same ids for different pictures.
    """
    real = images.real_paths(file.path for file in files)
    root = os.path.commonpath([os.path.dirname(path) for path in real.values()])  # noqa: PTH120 - text, a million times
    return root, [real[file.path][len(root) :] + (f"//{file.member}" if file.member else "") for file in files]


def _place(root: str, side: int, folder: Path, inputs: int, version: int) -> Place:
    """Where the cached images of these pictures are: one place for each data folder, side and number of inputs."""
    content = f"{root}|{side}|{version}" + ("|detail" if inputs > 1 else "")
    key = hashlib.blake2b(content.encode("utf-8", "surrogateescape"), digest_size=6).hexdigest()
    name = f"images-{side}-{key}" if version > 1 else f"store-{side}-{key}"
    return Place(folder / name, (side, side, 3) if inputs == 1 else (inputs, side, side, 3))


def _read(contents: Iterable[bytes]) -> Entries:
    """Entries from the records of a manifest."""
    entries = (Entry(**json.loads(content)) for content in contents)
    return {entry.id: entry for entry in entries}


def _todo(jobs: Sequence[Job], entries: Entries) -> list[Job]:
    """The pictures that have no entry, or one of another state of the file, or a refusal that may be over."""
    todo = []
    for job in jobs:
        entry = entries.get(job[0])
        if entry is None or entry.stamp != job[2] or may_pass(entry.reason):
            todo.append(job)
    return todo


def _make(place: Place, jobs: Sequence[Job], workers: int | None, inputs: Sequence[str]) -> Entries:
    """Make what is not there, and return all entries. Other processes may have made some of it by now."""
    with Journal(place.manifest) as journal:
        every_entry = _read(journal)
    entries = place.sound(every_entry)
    if len(entries) < len(every_entry):
        # Their pixels are lost: forget the entries, since other pictures will take the places.
        with atomic_write(place.manifest) as temporary, temporary.open("wb") as out:
            out.writelines(record_bytes(map(_packed, entries.values())))
    todo = _todo(jobs, entries)
    _check_space(place.folder, len(todo) * place.size)
    count = _count(entries)
    with (
        place.pixels.open("ab") as pixels,
        place.thumbnails.open("ab") as thumbnails,
        Journal(place.manifest) as journal,
    ):
        pixels.truncate(count * place.size)
        thumbnails.truncate(count * fingerprints.THUMBNAIL**2)
        for chunk in _decode_all(todo, entries, place.shape[-2], workers, inputs):
            written = []
            for made in chunk:
                entry = made.entry
                if made.image is not None and made.thumbnail is not None:
                    entry, count = replace(entry, row=count), count + 1
                    pixels.write(made.image.tobytes())
                    thumbnails.write(made.thumbnail.tobytes())
                written.append(entry)
            for file in (pixels, thumbnails):
                file.flush()
                os.fsync(file.fileno())  # a power cut must not keep the entries and lose the pixels
            journal.append(*map(_packed, written))
            entries |= {entry.id: entry for entry in written}
    return entries


def _packed(entry: Entry) -> bytes:
    """The record of an entry, without what is as `Entry` has it by default."""
    return json.dumps(
        {key: value for key, value in asdict(entry).items() if value != getattr(Entry, key, None)}
    ).encode()


def _count(entries: Entries) -> int:
    """How many cached images there are; some may be of no picture any more."""
    return max((entry.row + 1 for entry in entries.values()), default=0)


def file_stamps(files: Sequence[images.ImageFile]) -> list[str]:
    """What tells cheaply that a picture is still the same: size and time, or a zip member's size and checksum."""
    return [_stamp(file) for file in files]


def _stamp(file: images.ImageFile) -> str:
    try:
        if file.member:
            info = zips.find_member(file.path, file.member).info
            return f"{info.file_size}-{info.CRC:08x}"
        status = os.stat(file.path)  # noqa: PTH116 - a third of the time for 100,000 of them
        return f"{status.st_size}-{status.st_mtime_ns}"
    except (OSError, ValueError, KeyError, Unreadable):  # ValueError: a NUL in the path; reading it names the reason
        return "missing"


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"the cached images need {needed / 1e9:.1f} GB but {folder} has {free / 1e9:.1f} GB free: "
            "make room, or give another --cache or a smaller --image-size"
        )


def _decode_all(
    jobs: Sequence[Job], entries: Entries, side: int, workers: int | None, inputs: Sequence[str]
) -> Iterator[list[Made]]:
    """The entries and cached images of all jobs, in chunks and in order."""
    with (
        ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool,
        ProgressBar(total=len(jobs), desc="caching images", unit=" pictures") as progress,
    ):
        for start in range(0, len(jobs), CHUNK):
            interrupts.stop_if_requested()
            chunk = jobs[start : start + CHUNK]
            made = list(pool.map(lambda job: _decode(job, entries.get(job[0]), side, inputs), chunk))
            yield made
            progress.update(len(made))


def _decode(job: Job, before: Entry | None, side: int, inputs: Sequence[str]) -> Made:
    """The entry of a picture and its cached image; `before` is its entry so far."""
    name, file, stamp = job
    entry = Entry(name, stamp)
    try:
        data = file.read()
        entry = replace(entry, content=content_checksum(data))
        if before is not None and before.row >= 0 and before.content == entry.content:
            return Made(replace(before, stamp=stamp))
        picture, image = decode.cached_image(data, side, inputs, str(file))
        compared = picture if side == COMPARED_SIDE else decode.decode(data, square=COMPARED_SIDE, path=str(file))
    except Unreadable as refusal:
        return Made(replace(entry, reason=refusal.reason, detail=refusal.detail))
    digits = f"{fingerprints.phash(compared.pixels):016x}"
    entry = replace(entry, width=picture.width, height=picture.height, hash=digits, repaired=picture.repaired)
    return Made(entry, image, fingerprints.grey_thumbnail(compared.pixels))


def _open(place: Place, ids: Sequence[str], own: Sequence[Entry], memory_gb: float) -> ImageCache:
    """The cache of pictures with these ids in their table, and with these entries."""
    unread = [(name, entry.reason, entry.detail) for name, entry in zip(ids, own, strict=True) if entry.row < 0]
    refused = pd.DataFrame(unread, columns=["id", "reason", "detail"])
    if len(refused) == len(own):
        reasons = ", ".join(f"{n} {reason}" for reason, n in refused["reason"].value_counts().items())
        raise UserError(f"none of the {len(own)} pictures can be read: {reasons}; see painters-mtl check")
    count = place.count()
    pixels: np.ndarray = np.memmap(place.pixels, np.uint8, "r", shape=(count, *place.shape))
    if pixels.nbytes <= memory_gb * 1e9:
        pixels = np.fromfile(place.pixels, np.uint8, pixels.size).reshape(pixels.shape)
    small = (fingerprints.THUMBNAIL, fingerprints.THUMBNAIL)
    repaired = [(name, entry.repaired) for name, entry in zip(ids, own, strict=True) if entry.repaired]
    return ImageCache(
        pixels=pixels,
        rows=np.array([entry.row for entry in own], np.int64),
        contents=np.array([entry.content if entry.row >= 0 else "" for entry in own], str),
        hashes=np.array([int(entry.hash, 16) for entry in own], np.uint64),
        thumbnails=np.memmap(place.thumbnails, np.uint8, "r", shape=(count, *small)),
        refused=refused,
        repaired=pd.DataFrame(repaired, columns=["id", "repaired"]),
        folder=place.folder,
    )
