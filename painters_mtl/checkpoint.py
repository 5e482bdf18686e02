"""The state of a training between two epochs, so that one that was killed goes on as if nothing had happened."""

import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from painters_mtl.files import whole

CHECKPOINT = "checkpoint.npz"


@dataclass(frozen=True)
class Checkpoint:
    """All that the rest of a training depends on.

    `record` holds plain JSON values (history, best epoch, ...); `arrays` the variables of the network, among them the
    seeds of its dropout, the state of optimizers and strategy, and the best weights so far, each a list in the order of
    the code that wrote them.
    """

    record: dict[str, Any]
    arrays: dict[str, list[np.ndarray]]


def save(folder: Path, key: str, record: dict[str, Any], arrays: dict[str, Sequence[Any]]) -> None:
    """Write it whole; `key` is the fingerprint of the run."""
    flat = {f"{name}/{i}": np.asarray(value) for name, values in arrays.items() for i, value in enumerate(values)}
    text = json.dumps({"key": key, "record": record, "counts": {name: len(values) for name, values in arrays.items()}})
    with whole(folder / CHECKPOINT) as temporary, temporary.open("wb") as stream:
        np.savez(stream, json=np.frombuffer(text.encode(), np.uint8), **flat)  # type: ignore[arg-type]


def load(folder: Path, key: str) -> Checkpoint | None:
    """The one in `folder`; None where there is none, where it is damaged, or where it is of another run."""
    try:
        with np.load(folder / CHECKPOINT, allow_pickle=False) as file:
            content = json.loads(file["json"].tobytes())
            if content["key"] != key:
                return None
            arrays = {name: [file[f"{name}/{i}"] for i in range(n)] for name, n in content["counts"].items()}
            return Checkpoint(content["record"], arrays)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None


def remove(folder: Path) -> None:
    """When the training has come to its end."""
    (folder / CHECKPOINT).unlink(missing_ok=True)
