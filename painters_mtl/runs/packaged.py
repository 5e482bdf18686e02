"""The small form of a run folder, a packaged model: weights in 16 bits or 8, labels, metrics, and a manifest of files.

    models/paintings/    manifest.json  labels.json  network.json  weights.npz  metrics.json ...

`manifest.json` holds the SHA-256 of every other file, and of itself: what is damaged, altered or missing is refused by
its name. There is no `model.keras`: code builds the network (`inference.open_network`), in every version of Keras.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from painters_mtl.common.errors import UserError
from painters_mtl.common.files import write_json
from painters_mtl.runs.keras_file import MODEL
from painters_mtl.runs.network_files import NETWORK, WEIGHTS

if TYPE_CHECKING:
    import numpy as np

TRAINING_WORKS = "training_works.npz"  # the codes of the paintings that trained the network (`data.seen_works`)
MANIFEST, LABELS = "manifest.json", "labels.json"
FORMAT, VERSION = "package", 1  # what the manifest says of itself; a program that knows lower versions refuses it
NEEDED = (LABELS, NETWORK, WEIGHTS)
WAY_OUT = "get a sound copy of the folder, or export it again"


def is_packaged(folder: Path) -> bool:
    """Whether a folder is a packaged model: a manifest that says so, or is damaged, and no `model.keras`."""
    if (folder / MODEL).is_file() or not (folder / MANIFEST).is_file():
        return False
    try:
        return bool(json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["format"] == FORMAT)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return True


def write_package_manifest(folder: Path, about: Mapping[str, Any]) -> None:
    """Write the manifest of all files that are in the folder now.

    Args:
        about: what it also says, such as where the model comes from.
    """
    files = {
        file.name: {"bytes": file.stat().st_size, "sha256": _sha256(file)}
        for file in sorted(folder.iterdir())
        if file.name != MANIFEST and file.is_file()
    }
    content = {"format": FORMAT, "version": VERSION, **about, "files": files}
    write_json(folder / MANIFEST, content | {"sha256": _of_manifest(content)})


def read_package_manifest(folder: Path) -> dict[str, Any]:
    """The manifest. Raises `UserError` where it is damaged, was altered, or is of a newer version."""
    file = folder / MANIFEST
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if content["sha256"] != _of_manifest(content):
            raise UserError(f"{file} is not as it was written (its checksum is another): {WAY_OUT}")
        if content["version"] > VERSION:
            raise UserError(f"{file} has version {content['version']}: update painters-mtl, which reads {VERSION}")
        if missing := [name for name in NEEDED if name not in content["files"]]:
            raise UserError(f"{file} names no {missing[0]}: {WAY_OUT}")
        return content
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{file} is damaged ({type(error).__name__}: {error}): {WAY_OUT}") from error


def check_packaged(folder: Path) -> None:
    """Raise `UserError` that names the first file which is missing, or is not the one that was written."""
    for name, stored in read_package_manifest(folder)["files"].items():
        file = folder / Path(name).name
        try:
            checksum = _sha256(file)
        except OSError as error:
            raise UserError(f"{file} cannot be read ({error.strerror or error}): {WAY_OUT}") from error
        if checksum != stored["sha256"]:
            raise UserError(f"{file} is not as it was written (its checksum is another): {WAY_OUT}")


def training_codes_arrays(codes: "np.ndarray") -> "dict[str, np.ndarray]":
    """The arrays that keep codes of training works, uint32 (n,): sorted, each as its distance from the one before.

    So they need two thirds of their bytes; in what order the works were, nobody need know.
    """
    import numpy as np

    return {"distances": np.diff(np.unique(codes), prepend=np.uint32(0))}


def training_codes(folder: Path) -> "np.ndarray | None":
    """The codes of the works that trained a sound package (`check_packaged`), uint32 (n,); None if it keeps none."""
    import numpy as np

    if not (folder / TRAINING_WORKS).is_file():
        return None
    with np.load(folder / TRAINING_WORKS, allow_pickle=False) as stored:
        return np.cumsum(stored["distances"], dtype=np.uint32)


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _of_manifest(content: Mapping[str, Any]) -> str:
    """Of all that it says but this checksum itself."""
    values = {key: value for key, value in content.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
