"""A training step and a prediction with BatchNormalization folded into the kernels, against the same without.

python benchmarks/folding.py                # batches of 64 at 48, 72 and 96 pixels; the fastest of ten rounds counts
"""

import sys
import time
from collections.abc import Callable

import keras
import tensorflow as tf

from painters_mtl.data.tasks import Task
from painters_mtl.network.batchnorm_folding import fold_batchnorm
from painters_mtl.network.multitask import build_model

TASKS = {name: Task(name, tuple(map(str, range(n)))) for name, n in (("painter", 8), ("style", 10), ("genre", 23))}


def functions(network: keras.Model, pictures: tf.Tensor) -> dict[str, Callable[[], object]]:
    """A prediction and a backward pass of a network."""
    variables = [v.value for v in network.trainable_variables]

    @tf.function
    def step() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = tf.add_n([tf.reduce_mean(tf.math.log(p[:, 0])) for p in network(pictures, training=True).values()])
        return tape.gradient(loss, variables)

    return {"prediction": tf.function(lambda: network(pictures, training=False)), "gradients": step}


def main(sides: list[int]) -> None:
    """Both networks take turns, so that other work on the machine slows both alike."""
    network = build_model(TASKS)
    for side in sides:
        pictures = tf.random.stateless_uniform((64, side, side, 3), (0, 0), 0, 255)
        pair = [functions(model, pictures) for model in (network, fold_batchnorm(network))]
        for what in pair[0]:
            best = [float("inf"), float("inf")]
            for _ in range(11):
                for i, these in enumerate(pair):
                    start = time.perf_counter()
                    these[what]()
                    best[i] = min(best[i], time.perf_counter() - start)
            plain, folded = (1000 * seconds for seconds in best)
            print(f"{side} px {what}: {plain:.0f} ms, folded {folded:.0f} ms: {folded / plain:.2f} of it", flush=True)


if __name__ == "__main__":
    main([int(side) for side in sys.argv[1:]] or [48, 72, 96])
