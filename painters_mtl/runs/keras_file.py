"""The file `model.keras`: read without running any code in it, checked, and told apart by a checksum."""

import hashlib
import json
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from painters_mtl.common import lazy_imports
from painters_mtl.common.errors import UserError, first_line
from painters_mtl.common.files import atomic_write

if TYPE_CHECKING:
    import keras

MODEL = "model.keras"
MAX_UNPACKED_BYTES = 4 << 30  # bytes of a network, unpacked; the largest of keras.applications has 1.4 GB


@dataclass(frozen=True)
class KerasFile:
    """What a `.keras` file holds."""

    file: Path
    layers: bytes  # the layers as JSON
    weights: bytes  # the weights as HDF5
    config: Any  # the layers as Python values

    def digest(self) -> str:
        """Checksum of the layers and the weights, but not of when they were saved; 32 hexadecimal digits."""
        same_each_time = re.sub(rb'"shared_object_id": \d+', b"", self.layers)  # it is an address in memory
        return hashlib.blake2b(same_each_time + self.weights, digest_size=16).hexdigest()

    def check_layers(self) -> None:
        """Raise `UserError` where the file asks for more than layers of Keras, or for one that holds code."""
        for module, name in _classes(self.config):
            if name == "Lambda" or module.split(".")[0] != "keras":
                raise UserError(f"{self.file} is refused: it holds {module}.{name}; only Keras's own layers are loaded")


def read_keras_file(file: Path) -> KerasFile:
    """The content of a `.keras` file. Raises `UserError` when it cannot be read."""
    try:
        with zipfile.ZipFile(file) as archive:
            members = [archive.getinfo(name) for name in ("config.json", "model.weights.h5")]
            if sum(member.file_size for member in members) > MAX_UNPACKED_BYTES:
                raise ValueError(f"it would be larger than {MAX_UNPACKED_BYTES >> 30} GB in memory")
            layers, weights = map(archive.read, members)
        return KerasFile(file, layers, weights, json.loads(layers))
    # RuntimeError: a password, a compression that Python does not know, or JSON in a thousand brackets
    except (OSError, ValueError, KeyError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{file} cannot be loaded ({error}): train it again or get a sound copy") from error


def digest_of(file: Path) -> str:
    """Checksum of a saved model, as `KerasFile.digest`. Raises `UserError` when the file cannot be read."""
    return read_keras_file(file).digest()


def load_keras_file(file: Path) -> "keras.Model":
    """The model in a `.keras` file, without its optimizer. Check its layers first: see `KerasFile.check_layers`.

    Raises `UserError` where Keras cannot load it, such as a file that a newer version of Keras has written.
    """
    lazy_imports.import_tensorflow()
    import keras

    try:
        return keras.saving.load_model(file, compile=False, safe_mode=True)
    except Exception as error:  # keras raises whatever its parts raise
        raise UserError(
            f"{file} cannot be loaded by Keras {keras.__version__} ({first_line(error)}): train it again or get a "
            "sound copy"
        ) from error


def save_keras_file(model: "keras.Model", file: Path) -> None:
    """Write a model, whole."""
    with atomic_write(file) as temporary:
        model.save(temporary)


def _classes(config: Any) -> Iterator[tuple[str, str]]:
    """Every (module, class) that a configuration of Keras asks for."""
    if isinstance(config, dict):
        if "class_name" in config and config["class_name"] != "__keras_tensor__":
            yield str(config.get("module") or "keras"), str(config["class_name"])
        config = list(config.values())
    if isinstance(config, list):
        for value in config:
            yield from _classes(value)
