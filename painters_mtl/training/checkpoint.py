"""The state of a training between two steps, so that one that was killed goes on as if nothing had happened.

It is one file, written whole (`files.atomic_write`): an .npz with a checksum of all its bytes behind it, for a disk may
give back other bytes than were written, and a training that went on from those would not say so.
"""

import hashlib
import json
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from painters_mtl.common.errors import UserError
from painters_mtl.common.files import atomic_write
from painters_mtl.common.messages import say

if TYPE_CHECKING:
    import numpy as np  # late in the functions: --help needs the name of the file only

CHECKPOINT = "checkpoint.npz"
CHECKSUM_SIZE = 16  # bytes, at the end of the file; readers of .npz pass over them


@dataclass(frozen=True)
class Checkpoint:
    """All that the rest of a training depends on."""

    record: dict[str, Any]
    """Plain JSON values: history, best epoch, ..."""
    arrays: "dict[str, list[np.ndarray]]"
    """The variables of the network, among them the seeds of its dropout; the state of optimizers and strategy; the best
    weights so far; the losses of the epoch that has begun. Each a list in the order of the code that wrote it."""


def save(folder: Path, key: str, state: Checkpoint) -> None:
    """Write a checkpoint whole.

    Raises `UserError` where it cannot be written, as on a full disk: the one before is then still there.

    Args:
        key: the fingerprint of the training.
    """
    import numpy as np

    flat = {f"{name}/{i}": np.asarray(value) for name, values in state.arrays.items() for i, value in enumerate(values)}
    counts = {name: len(values) for name, values in state.arrays.items()}
    text = json.dumps({"key": key, "record": state.record, "counts": counts})
    try:
        with atomic_write(folder / CHECKPOINT) as temporary, temporary.open("w+b") as stream:
            np.savez(stream, json=np.frombuffer(text.encode(), np.uint8), **flat)  # type: ignore[arg-type]
            size = stream.seek(0, os.SEEK_END)
            stream.write(_checksum(stream, size))
    except OSError as error:
        kept = "the last one is kept: " if (folder / CHECKPOINT).exists() else ""
        raise UserError(
            f"{folder / CHECKPOINT} cannot be written ({error.strerror or error}); {kept}make room, then go on with "
            "--resume"
        ) from error


def load(folder: Path, key: str, needed: bool = False) -> Checkpoint | None:
    """The checkpoint in `folder`; None where there is none, or one that is damaged or of another training.

    The last two are printed; where a checkpoint is `needed`, they raise `UserError`.
    """
    file = folder / CHECKPOINT
    try:
        with file.open("rb") as stream:
            if (checkpoint := read(stream, key)) is not None:
                return checkpoint
        reason = "is of other paintings, labels or settings, or of another version of this program"
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        reason = f"is damaged ({error})"
    if needed:
        raise UserError(f"{file} {reason}: nothing can go on from it; without --resume, the training starts anew")
    say(f"note: {file} {reason}: starting anew")
    return None


def read(stream: BinaryIO, key: str) -> Checkpoint | None:
    """The checkpoint in an open file; None where its key is another one. Raises all that damage can raise."""
    import numpy as np

    size = stream.seek(0, os.SEEK_END) - CHECKSUM_SIZE
    if _checksum(stream, size) != stream.read():
        raise ValueError("its checksum does not fit")
    stream.seek(0)
    with np.load(stream, allow_pickle=False) as arrays:
        content = json.loads(arrays["json"].tobytes())
        if content["key"] != key:
            return None
        values = {name: [arrays[f"{name}/{i}"] for i in range(count)] for name, count in content["counts"].items()}
        return Checkpoint(content["record"], values)


def _checksum(stream: BinaryIO, size: int) -> bytes:
    """The checksum of the first `size` bytes of a file, whose position is then behind them."""
    digest, left = hashlib.blake2b(digest_size=CHECKSUM_SIZE), max(size, 0)
    stream.seek(0)
    while left and (piece := stream.read(min(left, 2**20))):
        digest.update(piece)
        left -= len(piece)
    return digest.digest()


def remove(folder: Path) -> None:
    """Remove the checkpoint of a training that has come to its end."""
    (folder / CHECKPOINT).unlink(missing_ok=True)
