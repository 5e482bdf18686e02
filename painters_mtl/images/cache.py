"""Small copies of the paintings: each picture is decoded once, training then never touches the originals.

A store is a folder with two files. `pixels.u8` holds the copies, one after the other, each side x side x 3 bytes: the
whole picture squashed to a square, so that all have one shape and any of them is found by its number. `manifest.jsonl`
holds a line for each picture: what it was made from, its perceptual hash, or why it was refused. Both only grow; the
line is written after the pixels, so that a run that was killed goes on where it stood. One process at a time writes.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from painters_mtl.common.errors import Unreadable, UserError
from painters_mtl.common.files import file_lock, remove_leftovers, write_text
from painters_mtl.images import decode, zips
from painters_mtl.images import files as images

VERSION = 1  # of the layout; another one is another folder
MARGIN = 1.25  # the copies are larger than what the network sees by this, so that crops keep their detail
CHUNK = 512  # pictures between two writes
PASSING = ("missing", "no permission", "read error")  # refusals that may be over the next time, the file being the same

Lines = dict[str, dict[str, Any]]  # of the manifest, by the picture's id
Job = tuple[str, images.ImageFile, str, dict[str, Any] | None]  # id, file, stamp, the line that was


@dataclass(frozen=True)
class ImageCache:
    """Copies of the pictures of a catalogue, in its order."""

    pixels: np.ndarray  # uint8, (copies, side, side, 3), of two views (copies, 2, side, side, 3); in memory, or mapped
    rows: np.ndarray  # int64, (paintings,): which copy is which painting's; -1: refused
    contents: np.ndarray  # str, (paintings,): checksums of the files; "" where refused
    hashes: np.ndarray  # uint64, (paintings,): perceptual hashes; 0 where refused
    refused: pd.DataFrame  # columns id, reason, detail
    repaired: pd.DataFrame  # columns id, repaired
    folder: Path


def cache_side(image_size: int) -> int:
    """Side of the copies for a network that sees `image_size` pixels."""
    return round(image_size * MARGIN)


def build_image_cache(
    table: pd.DataFrame,
    side: int,
    folder: Path,
    memory_gb: float = 4.0,
    workers: int | None = None,
    views: Sequence[str] = ("whole",),
) -> ImageCache:
    """Copies of all pictures of `table` (columns id, file, member), made now where they are not there yet.

    Args:
        side: side of the copies in pixels.
        folder: the cache; the store becomes a sub-folder, named after the data's place and `side`.
        memory_gb: larger stores are mapped from disk instead of read into memory.
        workers: threads; by default as many as there are cores.
        views: ("whole",), or ("whole", "detail"); see `decoding.copy_of`.

    A picture is made again when its size and time (in a zip: its size and checksum) have changed and its content too.
    Raises `UserError` when the disk is too small or no picture can be read.
    """
    roots = os.path.commonpath([str(Path(f).resolve().parent) for f in table["file"]])
    content = f"{roots}|{side}|{VERSION}" + ("|detail" if len(views) > 1 else "")
    key = hashlib.blake2b(content.encode("utf-8", "surrogateescape"), digest_size=6).hexdigest()
    folder = Path(folder) / f"store-{side}-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    shape = (side, side, 3) if len(views) == 1 else (len(views), side, side, 3)
    files = [images.ImageFile(f, m) for f, m in zip(table["file"], table["member"], strict=True)]
    jobs = list(zip(table["id"], files, file_stamps(files), strict=True))
    known, todo = _look(folder, jobs, int(np.prod(shape)))
    if todo:  # a store that has all of it may be read-only
        with file_lock(folder / "lock", f"making small copies in {folder}", wait=True):
            remove_leftovers(folder, "manifest.jsonl")
            known = _make(folder, jobs, shape, workers, views)
    return _open(folder, shape, table, known, memory_gb)


def _look(folder: Path, jobs: Sequence[tuple[str, images.ImageFile, str]], size: int) -> tuple[Lines, list[Job]]:
    """The lines whose copies, of `size` bytes, are there; and what is to be made."""
    lines, _ = _read_manifest(folder / "manifest.jsonl")
    length = _length(folder / "pixels.u8")
    known = {name: line for name, line in lines.items() if (line["row"] + 1) * size <= length}
    todo = []
    for name, file, stamp in jobs:
        line = known.get(name)
        if line is None or line["stamp"] != stamp or line.get("reason") in PASSING:
            todo.append((name, file, stamp, line))
    return known, todo


def _make(
    folder: Path,
    jobs: Sequence[tuple[str, images.ImageFile, str]],
    shape: tuple[int, ...],
    workers: int | None,
    views: Sequence[str],
) -> Lines:
    """Make what is not there, and return all lines. Other processes may have made some of it by now."""
    manifest, size = folder / "manifest.jsonl", int(np.prod(shape))
    lines, good_bytes = _read_manifest(manifest)
    known, todo = _look(folder, jobs, size)
    if len(known) < len(lines):  # their pixels are lost: forget the lines, since other pictures will take the places
        write_text(manifest, "".join(json.dumps(line) + "\n" for line in known.values()))
        good_bytes = _length(manifest)
    count = _count(known)
    _check_space(folder, len(todo) * size)
    with (folder / "pixels.u8").open("ab") as pixels, manifest.open("ab") as written:
        pixels.truncate(count * size)
        written.truncate(good_bytes)
        for made in _decode_all(todo, shape[-2], workers, views):
            for line, copy in made:
                if copy is not None:
                    line["row"], count = count, count + 1
                    pixels.write(copy.tobytes())
                known[line["id"]] = line
            pixels.flush()
            os.fsync(pixels.fileno())  # a power cut must not keep the lines and lose the pixels
            written.write(b"".join(json.dumps(line).encode() + b"\n" for line, _ in made))
            written.flush()
    return known


def _count(known: Lines) -> int:
    return max((line["row"] + 1 for line in known.values()), default=0)


def _length(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _read_manifest(file: Path) -> tuple[Lines, int]:
    """The last line of each picture, and how many bytes of the file are sound: a kill may have torn its end."""
    known: Lines = {}
    sound = 0
    if file.exists():
        with file.open("rb") as lines:
            for raw in lines:
                try:
                    line = json.loads(raw) if raw.endswith(b"\n") else None
                except ValueError:
                    line = None
                if line is None:
                    break
                known[line["id"]] = line
                sound += len(raw)
    return known, sound


def file_stamps(files: Sequence[images.ImageFile]) -> list[str]:
    """What tells cheaply that a picture is still the same: size and time, or a zip member's size and checksum."""
    return [_stamp(file) for file in files]


def _stamp(file: images.ImageFile) -> str:
    try:
        if file.member:
            info = zips.find_member(file.path, file.member).info
            return f"{info.file_size}-{info.CRC:08x}"
        status = Path(file.path).stat()
        return f"{status.st_size}-{status.st_mtime_ns}"
    except (OSError, ValueError, KeyError, Unreadable):  # ValueError: a NUL in the path; reading it names the reason
        return "missing"


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"the copies need {needed / 1e9:.1f} GB but {folder} has {free / 1e9:.1f} GB free: "
            "make room, or give another --cache or a smaller --image-size"
        )


def _decode_all(
    jobs: Sequence[Job], side: int, workers: int | None, views: Sequence[str]
) -> Iterator[list[tuple[dict[str, Any], np.ndarray | None]]]:
    """The lines and copies of all jobs, in chunks and in order."""
    with (
        ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool,
        tqdm(total=len(jobs), desc="making small copies", unit=" pictures", mininterval=0.5) as progress,
    ):
        for start in range(0, len(jobs), CHUNK):
            made = list(pool.map(lambda job: _decode(job, side, views), jobs[start : start + CHUNK]))
            yield made
            progress.update(len(made))


def _decode(job: Job, side: int, views: Sequence[str]) -> tuple[dict[str, Any], np.ndarray | None]:
    name, file, stamp, before = job
    line: dict[str, Any] = {"id": name, "stamp": stamp, "row": -1}
    try:
        data = file.read()
        line["content"] = hashlib.blake2b(data, digest_size=16).hexdigest()
        if before is not None and before["row"] >= 0 and before.get("content") == line["content"]:
            return {**before, "stamp": stamp}, None
        picture, copy = decode.cached_image(data, side, views, str(file))
    except Unreadable as refusal:
        return {**line, "reason": refusal.reason, "detail": refusal.detail}, None
    line |= {"width": picture.width, "height": picture.height, "hash": f"{decode.phash(picture.pixels):016x}"}
    if picture.repaired:
        line["repaired"] = picture.repaired
    return line, copy


def _open(
    folder: Path,
    shape: tuple[int, ...],
    table: pd.DataFrame,
    known: Lines,
    memory_gb: float,
) -> ImageCache:
    lines = [known[name] for name in table["id"]]
    refused = pd.DataFrame(
        [(n["id"], n["reason"], n["detail"]) for n in lines if n["row"] < 0], columns=["id", "reason", "detail"]
    )
    if len(refused) == len(lines):
        reasons = ", ".join(f"{n} {reason}" for reason, n in refused["reason"].value_counts().items())
        raise UserError(f"none of the {len(lines)} pictures can be read: {reasons}; see python -m painters_mtl.check")
    pixels: np.ndarray = np.memmap(folder / "pixels.u8", np.uint8, "r", shape=(_count(known), *shape))
    if pixels.nbytes <= memory_gb * 1e9:
        pixels = np.fromfile(folder / "pixels.u8", np.uint8, pixels.size).reshape(pixels.shape)
    return ImageCache(
        pixels=pixels,
        rows=np.array([line["row"] for line in lines], np.int64),
        contents=np.array([line.get("content", "") if line["row"] >= 0 else "" for line in lines], str),
        hashes=np.array([int(line.get("hash", "0"), 16) for line in lines], np.uint64),
        refused=refused,
        repaired=pd.DataFrame([(n["id"], n["repaired"]) for n in lines if "repaired" in n], columns=["id", "repaired"]),
        folder=folder,
    )
