"""Tiny data and a tiny trained run, shared by the tests of store, training and prediction."""

import contextlib
import csv
import dataclasses
import os
import resource
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from painters_mtl import train
from painters_mtl.data import dataset
from painters_mtl.data.dataset import Dataset
from painters_mtl.data.tasks import Task
from painters_mtl.network.forward import forward_function, predict_in_batches
from painters_mtl.network.multitask import build_model
from painters_mtl.network.settings import NetworkSettings
from painters_mtl.training import fit as training
from painters_mtl.training.settings import TrainSettings

LEVELS = (35, 125, 215)
PAINTERS = ("Ada Red", 'Bo "Brush", the Elder', "Cy Umber")
STYLES = ("Dots", "Lines", "Washes")
GENRES = ("portrait", "landscape")


def picture(channels: tuple[int, int, int], rng: np.random.Generator, side: int = 40) -> np.ndarray:
    """One colour under a coarse noise of its own, so that no two pictures have like perceptual hashes."""
    noise = rng.integers(-15, 16, (10, 10, 1)).repeat(side // 10, 0).repeat(side // 10, 1)
    return np.clip(np.array(channels) + noise, 0, 255).astype(np.uint8)


def make_data(folder: Path, count: int = 200, seed: int = 0, missing: float = 0.2) -> Path:
    """A folder with labels.csv in which red tells the painter, green the style, blue the genre; some labels miss."""
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["filename", "painter", "style", "genre", "title", "date"])
        for i in range(count):
            p, s, g = rng.integers(3), rng.integers(3), rng.integers(2)
            pixels = picture((LEVELS[p], LEVELS[s], LEVELS[2 * g]), rng)
            Image.fromarray(pixels).save(folder / "images" / f"{i:03d}.png")
            names = [PAINTERS[p], STYLES[s], GENRES[g]]
            kept = [name if rng.random() >= missing else "" for name in names]
            table.writerow([f"images/{i:03d}.png", *kept, f"work {i}", ""])
    return folder


def tiny_settings(data: Path, out: Path, **changes: object) -> TrainSettings:
    """Settings that train `small_convnet` in seconds; `out` gets the folders models and cache."""
    values: dict[str, object] = {
        "data": data,
        "models": out / "models",
        "cache": out / "cache",
        "name": "run",
        "image_size": 32,
        "backbone": "small_convnet",
        "weights": "none",
        "fine_tune": "all",
        "epochs": 8,
        "batch_size": 8,
        "learning_rate": 5e-3,
        "dropout": 0.0,
        "painters": ("2",),
        "other_painters": 0.3,
        "task_weights": {"style": 1.0},
        "patience": 8,
        "refit": False,  # seconds for each network: tests/training/test_head_refit.py has its own
        "painter_known": False,  # seconds too; the run of `trained` has that head
    }
    return TrainSettings(**(values | changes))  # type: ignore[arg-type]


def small_network(
    tasks: Mapping[str, Task], backbone: str = "small_convnet", multi_scale: bool = False, **settings: object
) -> keras.Model:
    """A network of `build_model`, for images of 32 pixels and without pretrained weights unless `settings` differ."""
    values: dict[str, object] = {"backbone": backbone, "image_size": 32, "weights": "none"} | settings
    return build_model(tasks, NetworkSettings(**values), multi_scale=multi_scale)  # type: ignore[arg-type]


def untrained_network(data: Dataset, **changes: object) -> keras.Model:
    """The network of `tiny_settings` for the tasks of the data, always with the same weights."""
    keras.utils.set_random_seed(0)
    return build_model(data.tasks, tiny_settings(Path(), Path(), **changes))


def painter_probabilities(model: keras.Model, data: Dataset, part: str) -> np.ndarray:
    """What a network says of the painters of a part of the split: float32 (n, classes)."""
    outputs = predict_in_batches(forward_function(model, 32), data.images.pixels, data.image_rows[data.rows(part)])
    return outputs["painter"]


def fitted(settings: TrainSettings) -> tuple[Dataset, training.RunResult, Path]:
    """Prepare the data, train, and give back all there is."""
    data = dataset.prepare(settings)
    folder = settings.models / settings.name
    return data, training.fit(data, settings, folder), folder


def trained(factory: pytest.TempPathFactory) -> tuple[Path, TrainSettings]:
    """The folder of a run that `python -m painters_mtl.train` made, once a session, and its settings."""
    return _trained(factory.getbasetemp())


@cache
def _trained(base: Path) -> tuple[Path, TrainSettings]:
    out = base / "trained"
    settings = tiny_settings(make_data(out / "data"), out, painter_known=True)
    assert train.main(arguments(settings)) == 0
    return settings.models / settings.name, settings


def same_weights(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    """Whether they are the same to the last bit."""
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def arguments(settings: TrainSettings) -> list[str]:
    """The command line of settings, as far as it differs from the defaults."""
    words: list[str] = []
    default = TrainSettings()
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if value != getattr(default, field.name):
            option = ("--no-" if value is False else "--") + field.name.replace("_", "-")
            values = value if isinstance(value, tuple) else () if isinstance(value, bool) else (value,)
            if isinstance(value, dict):
                values = tuple(f"{k}={v}" for k, v in value.items())
            words += [option, *map(str, values)]
    return words


def python(
    *arguments: object, cwd: Path | None = None, seconds: float = 120, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run this Python in a process of its own, which may take so many seconds."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        timeout=seconds,
    )


@contextlib.contextmanager
def locked_elsewhere(file: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock `file` as long as the block lasts, or until it is killed."""
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from painters_mtl.common.files import file_lock\n"
        "with file_lock(Path(sys.argv[1]), 'at it', wait=False):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(300)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, file], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes: as on a disk that is full, the write that would do it fails there."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def read_rows(file: Path) -> list[dict[str, str]]:
    """A CSV as it stands, read by the standard library."""
    with file.open(newline="", encoding="utf-8", errors="surrogateescape") as lines:
        return list(csv.DictReader(lines))


def table_of(files: list[Path]) -> pd.DataFrame:
    """The columns of a catalogue that the image cache reads."""
    return pd.DataFrame({"id": [f.name for f in files], "file": [str(f) for f in files], "member": ""})
