"""A run folder with a small random network, as a training leaves it before it is calibrated."""

from pathlib import Path

import keras
from helpers import small_network

from painters_mtl.data.tasks import Task
from painters_mtl.runs import run as runs

TASKS = {"painter": Task("painter", ("Ä", 'B "b", c')), "genre": Task("genre", ("portrait", "landscape", "x"))}


def make_run(folder: Path, seed: int = 0) -> keras.Model:
    folder.mkdir(parents=True)
    keras.utils.set_random_seed(seed)
    model = small_network(TASKS)
    runs.save_labels(folder, TASKS, 32, 40, demo=True)
    runs.save_model(model, folder)
    return model
