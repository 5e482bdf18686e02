"""How long the networks of a comparison take for one painting; apart, for nothing else here builds networks."""

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from painters_mtl.data.dataset import Dataset
from painters_mtl.network.forward import forward_function, predict_in_batches
from painters_mtl.network.multitask import build_model
from painters_mtl.training.settings import TrainSettings


def time_predictions(
    data: Dataset, settings: TrainSettings, names: Sequence[str], count: int = 64, rounds: int = 3
) -> list[float]:
    """Milliseconds for one painting, from its cached image to probabilities, for each network of a comparison.

    The first is the network with all heads, the others those with the head of one task alone. Weights do not change
    the time, so the networks are built anew. They take turns, so that other work on the machine slows all of them
    alike; the fastest round counts.

    Args:
        names: the tasks with a network of their own.
        count: paintings in a round; those of the data are repeated where they are fewer.
        rounds: after a first one, which compiles and does not count.
    """
    images = data.images.pixels[data.image_rows[np.resize(np.arange(len(data.table)), count)]]
    settings = replace(settings, weights="none")
    forwards = [
        forward_function(build_model(tasks, settings, multi_scale=settings.ends_multi_scale()), settings.image_size)
        for tasks in (data.tasks, *({name: data.tasks[name]} for name in names))
    ]
    seconds = np.zeros((rounds + 1, len(forwards)))
    for line in seconds:
        for k, forward in enumerate(forwards):
            start = time.perf_counter()
            predict_in_batches(forward, images, np.arange(count))
            line[k] = time.perf_counter() - start
    return [1000 * float(fastest) / count for fastest in seconds[1:].min(axis=0)]
