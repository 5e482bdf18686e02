"""The network of a run as plain data: `weights.npz`, its arrays, and `network.json`, all that is needed to build it.

`model.keras` is written beside them, for Keras itself reads it. But a file that one version of Keras has written, an
older one cannot read; arrays and a few settings have no version. What they mean is known to `network.manifest`.
"""

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from painters_mtl.common.errors import UserError
from painters_mtl.common.files import atomic_write, write_json
from painters_mtl.common.small_floats import unpacked
from painters_mtl.runs.keras_file import MAX_UNPACKED_BYTES

if TYPE_CHECKING:
    import numpy as np

NETWORK, WEIGHTS = "network.json", "weights.npz"
# What JSON, zipfile and numpy raise for damaged files; RecursionError for a thousand brackets
DAMAGE = (OSError, ValueError, KeyError, TypeError, RecursionError, EOFError, zipfile.BadZipFile, zlib.error)
WAY_OUT = "get a sound copy of the run, or train it again"


def save_network_files(
    folder: Path, manifest: Mapping[str, Any], arrays: "Mapping[str, np.ndarray]", compressed: bool = False
) -> None:
    """Write a network's arrays, then its manifest with their checksum; cut short, there is no manifest."""
    remove_network_files(folder)
    write_arrays(folder / WEIGHTS, arrays, compressed)
    write_json(folder / NETWORK, {**manifest, "weights_checksum": _checksum((folder / WEIGHTS).read_bytes())})


def write_arrays(file: Path, arrays: "Mapping[str, np.ndarray]", compressed: bool = False) -> None:
    """Write an .npz whole, as `numpy.savez` does, but for the time of day: the same arrays give the same bytes."""
    import numpy as np

    method = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with atomic_write(file) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy")  # of 1980
            member.compress_type = method
            with archive.open(member, "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.asanyarray(array), allow_pickle=False)


def remove_network_files(folder: Path) -> None:
    """Remove both, such as before `model.keras` is written anew; first the manifest, which says that they are there."""
    for name in (NETWORK, WEIGHTS):
        (folder / name).unlink(missing_ok=True)


def has_network_files(folder: Path) -> bool:
    """Whether a run's network can be built from arrays; a run of version 0.4 has `model.keras` only."""
    return (folder / NETWORK).is_file()


def network_digest(folder: Path) -> str:
    """A checksum of the manifest, and so of the arrays too; "" where there is none."""
    return _checksum((folder / NETWORK).read_bytes()) if has_network_files(folder) else ""


def read_network_files(folder: Path, digest: str = "") -> "tuple[dict[str, Any], dict[str, np.ndarray]]":
    """The manifest and the arrays by name, {name: array}. No code is run: arrays of Python objects are refused.

    What is kept in 16 or 8 bits, in a packaged model (`common.small_floats`), comes in 32.

    Args:
        digest: what `network_digest` must be, where it is known.

    Raises `UserError` for files that are damaged, or not those that the training wrote.
    """
    import numpy as np

    try:
        text, data = (folder / NETWORK).read_bytes(), (folder / WEIGHTS).read_bytes()
        manifest = json.loads(text)
        same = manifest["weights_checksum"] == _checksum(data) and digest in ("", _checksum(text))
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if same and size <= MAX_UNPACKED_BYTES:
            with np.load(io.BytesIO(data), allow_pickle=False) as stored:
                return manifest, unpacked(stored)
    except DAMAGE as error:
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"{folder / NETWORK} or {WEIGHTS} beside it is damaged ({reason}): {WAY_OUT}") from error
    raise UserError(f"{folder / NETWORK} and {WEIGHTS} are not as the training wrote them (checksum): {WAY_OUT}")


def _checksum(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
