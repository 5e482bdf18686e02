"""What each way of training together costs: the time of a step, as a multiple of the joint step's.

    .venv/bin/python benchmarks/strategies.py            # EfficientNet-Lite0, upper half, batches of 64 at 72 pixels

All take turns, so that other work on the machine slows all alike; the fastest of the rounds counts. The aim: at most
1.05 for a loss weighting, 2.2 for a gradient method (it needs three backward passes).
"""

import sys
import time

import numpy as np
import tensorflow as tf

from painters_mtl.data.tasks import Task
from painters_mtl.network.batchnorm_folding import fold_batchnorm
from painters_mtl.network.multitask import backbone_of, build_model
from painters_mtl.training.batches import Batch
from painters_mtl.training.losses import Objective
from painters_mtl.training.settings import STRATEGY_NAMES, TrainSettings
from painters_mtl.training.step import TrainStep

CLASSES = {"painter": 8, "style": 10, "genre": 23, "all_painters": 199}
HEADS = {"painter": ["painter", "all_painters"], "style": ["style"], "genre": ["genre"]}
SIDE, BATCH = 72, 64


def main(rounds: int) -> None:
    """Print a line for each strategy."""
    tasks = {name: Task(name, tuple(map(str, range(n)))) for name, n in CLASSES.items()}
    rng = np.random.default_rng(0)
    labels = {name: tf.constant(rng.integers(n, size=BATCH), tf.int32) for name, n in CLASSES.items()}
    pictures = tf.constant(rng.uniform(0, 255, (BATCH, SIDE, SIDE, 3)), tf.float32)
    batch = Batch(pictures, labels, dict.fromkeys(CLASSES, tf.ones(BATCH)), tf.constant(0), tf.range(BATCH))
    objective = Objective(HEADS, dict.fromkeys(CLASSES, 1.0))
    steps = {}
    for strategy in STRATEGY_NAMES:
        model = build_model(tasks)
        pretrained = backbone_of(model).trainable_variables
        train_step = TrainStep(fold_batchnorm(model), objective, TrainSettings(strategy=strategy), 1000, pretrained)
        steps[strategy] = tf.function(train_step.step)
        steps[strategy](batch)
    best = dict.fromkeys(STRATEGY_NAMES, float("inf"))
    for _ in range(rounds):
        for strategy, step in steps.items():
            start = time.perf_counter()
            step(batch)
            best[strategy] = min(best[strategy], time.perf_counter() - start)
    for strategy, seconds in best.items():
        print(f"{strategy:<12}{1000 * seconds:>8.0f} ms{seconds / best['joint']:>8.2f} of joint", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
