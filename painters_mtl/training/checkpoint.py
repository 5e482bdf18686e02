"""The state of a training between two steps, so that one that was killed goes on as if nothing had happened."""

import hashlib
import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from painters_mtl.common.errors import UserError
from painters_mtl.common.files import atomic_write

CHECKPOINT = "checkpoint.npz"
CHECKSUM = 16  # bytes, at the end of the file; a reader of zip files passes over them


@dataclass(frozen=True)
class Checkpoint:
    """All that the rest of a training depends on.

    `record` holds plain JSON values (history, best epoch, ...); `arrays` the variables of the network, among them the
    seeds of its dropout, the state of optimizers and strategy, the best weights so far, and the losses of the epoch
    that has begun, each a list in the order of the code that wrote them.
    """

    record: dict[str, Any]
    arrays: dict[str, list[np.ndarray]]


def save(folder: Path, key: str, record: dict[str, Any], arrays: Mapping[str, Sequence[Any]]) -> None:
    """Write it whole; `key` is the fingerprint of the run.

    Raises `UserError` where that cannot be, as on a full disk: the one before is then still there.
    """
    flat = {f"{name}/{i}": np.asarray(value) for name, values in arrays.items() for i, value in enumerate(values)}
    text = json.dumps({"key": key, "record": record, "counts": {name: len(values) for name, values in arrays.items()}})
    try:
        with atomic_write(folder / CHECKPOINT) as temporary, temporary.open("w+b") as stream:
            np.savez(stream, json=np.frombuffer(text.encode(), np.uint8), **flat)  # type: ignore[arg-type]
            size = stream.seek(0, os.SEEK_END)
            stream.write(_checksum(stream, size))
    except OSError as error:
        last = "the last one is kept: " if (folder / CHECKPOINT).exists() else ""
        raise UserError(
            f"{folder / CHECKPOINT} cannot be written ({error.strerror or error}); {last}make room, then go on with "
            "--resume"
        ) from error


def load(folder: Path, key: str, needed: bool = False) -> Checkpoint | None:
    """The one in `folder`; None where there is none, or one that is damaged or of another run, which is said.

    Raises `UserError` for the latter two where it is `needed`.
    """
    file = folder / CHECKPOINT
    try:
        with file.open("rb") as stream:
            if (found := read(stream, key)) is not None:
                return found
        reason = "is of other paintings, labels or settings, or of another version of this program"
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        reason = f"is damaged ({error})"
    if needed:
        raise UserError(f"{file} {reason}: nothing can go on from it; without --resume, the training starts anew")
    print(f"note: {file} {reason}: starting anew", flush=True)
    return None


def read(stream: BinaryIO, key: str) -> Checkpoint | None:
    """The one in an open file; None where it is of another run. Raises all that damage can raise."""
    size = stream.seek(0, os.SEEK_END) - CHECKSUM
    if _checksum(stream, size) != stream.read():
        raise ValueError("the checksum is another one")
    stream.seek(0)
    with np.load(stream, allow_pickle=False) as arrays:
        content = json.loads(arrays["json"].tobytes())
        if content["key"] != key:
            return None
        values = {n: [arrays[f"{n}/{i}"] for i in range(k)] for n, k in content["counts"].items()}
        return Checkpoint(content["record"], values)


def _checksum(stream: BinaryIO, size: int) -> bytes:
    """Of the first bytes of the file; leaves it behind them."""
    digest, left = hashlib.blake2b(digest_size=CHECKSUM), max(size, 0)
    stream.seek(0)
    while left and (part := stream.read(min(left, 2**20))):
        digest.update(part)
        left -= len(part)
    return digest.digest()


def remove(folder: Path) -> None:
    """When the training has come to its end."""
    (folder / CHECKPOINT).unlink(missing_ok=True)
