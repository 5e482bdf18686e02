"""`model.keras`: what is damaged, or holds more than layers of Keras, is refused in one sentence."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import keras
import pytest
from small_runs import make_run

from painters_mtl.common.errors import UserError
from painters_mtl.runs import keras_file
from painters_mtl.runs import run as runs


@pytest.mark.parametrize("kept", [0, 10, 0.5, 0.99])
def test_a_damaged_model_is_one_sentence(kept: float, tmp_path: Path) -> None:
    make_run(tmp_path / "a")
    file = tmp_path / "a" / "model.keras"
    data = file.read_bytes()
    file.write_bytes(data[: int(kept if kept >= 1 else kept * len(data))])
    with pytest.raises(UserError, match=r"model\.keras cannot be loaded") as error:
        runs.open_run(tmp_path / "a").model()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("at", "value"), [(8, 1), (10, 99), (6, 255)], ids=["encrypted", "method", "version"])
def test_a_model_with_another_header_is_one_sentence(at: int, value: int, tmp_path: Path) -> None:
    """One byte of each entry in the zip's directory, of those that make zipfile raise other errors than its own."""
    make_run(tmp_path / "a")
    file = tmp_path / "a" / "model.keras"
    data = bytearray(file.read_bytes())
    found = data.find(b"PK\x01\x02")
    while found >= 0:
        data[found + at] = value
        found = data.find(b"PK\x01\x02", found + 4)
    file.write_bytes(data)
    with pytest.raises(UserError, match=r"model\.keras cannot be loaded"):
        runs.open_run(tmp_path / "a").model()


def test_a_model_in_a_thousand_brackets_or_too_large_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(tmp_path / "a")
    with zipfile.ZipFile(tmp_path / "a" / "model.keras", "w") as archive:
        archive.writestr("config.json", "[" * 100_000 + "]" * 100_000)
        archive.writestr("model.weights.h5", b"")
    with pytest.raises(UserError, match=r"model\.keras cannot be loaded"):
        runs.open_run(tmp_path / "a").check()
    monkeypatch.setattr(keras_file, "MAX_UNPACKED_BYTES", 1000)
    with pytest.raises(UserError, match=r"model\.keras cannot be loaded \(it would be larger"):
        runs.open_run(tmp_path / "a").check()


def test_a_model_that_would_run_code_is_refused(tmp_path: Path) -> None:
    make_run(tmp_path / "a")
    image = keras.Input((32, 32, 3))
    trap = keras.Model(image, {"painter": keras.layers.Lambda(lambda x: x)(image)})
    trap.save(tmp_path / "a" / "model.keras")
    with pytest.raises(UserError, match=r"model\.keras is refused: it holds keras\.layers\.Lambda"):
        runs.open_run(tmp_path / "a").model()


def edited(file: Path, change: Callable[[dict], None]) -> None:
    """Change the configuration in a .keras file."""
    with zipfile.ZipFile(file) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(parts["config.json"])
    change(config)
    parts["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)


@pytest.mark.parametrize("module", ["os", "painters_mtl.network.batchnorm_folding", "builtins", "kerasx.layers"])
def test_a_model_with_anything_but_layers_of_keras_is_refused(module: str, tmp_path: Path) -> None:
    make_run(tmp_path / "a")

    def change(config: dict) -> None:
        config["config"]["layers"][1] |= {"module": module, "class_name": "system"}

    edited(tmp_path / "a" / "model.keras", change)
    with pytest.raises(UserError, match=rf"is refused: it holds {module}\.system"):
        runs.open_run(tmp_path / "a").model()
