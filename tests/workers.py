"""Steps of a tiny network under every strategy, on one device or several; as a script, those of one worker.

TF_CONFIG=... python tests/workers.py multiworker OUT.npz
python tests/workers.py mirrored OUT.npz                # on two virtual CPUs
"""

import sys
from dataclasses import replace

import keras
import numpy as np
import tensorflow as tf

from painters_mtl.network.graph import FEATURES
from painters_mtl.network.precision import in_precision
from painters_mtl.training.batches import Batch
from painters_mtl.training.crop_teachers import CropTeachers
from painters_mtl.training.devices import Devices, connect
from painters_mtl.training.losses import Objective
from painters_mtl.training.settings import STRATEGY_NAMES, TrainSettings
from painters_mtl.training.step import TrainStep

HEADS = {"painter": ["painter", "all_painters"], "style": ["style"], "genre": ["genre"]}
WEIGHTS = {"painter": 0.5, "all_painters": 0.3, "style": 1.0, "genre": 2.0}
SIZE = 12
Case = tuple[str, int, float, str]  # strategy, accumulate, teachers' weight, what these see
# Every strategy in several processes; on several devices of one process, where the steps are the same ones, a few.
OF_PROCESSES: list[Case] = [*((s, 1, 0, "") for s in STRATEGY_NAMES), ("joint", 2, 0.4, "whole")]
OF_MIRRORED: list[Case] = [
    ("alternate", 1, 0, ""),
    ("gradnorm", 1, 0, ""),
    ("upgrad", 1, 0, ""),
    ("famo", 2, 0, ""),
    ("joint", 2, 0.4, "crop"),
]


def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    images = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(6, 3, strides=2, use_bias=False)(images)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    x = keras.layers.GlobalAveragePooling2D(name=FEATURES)(x)
    heads = {name: keras.layers.Dense(3, activation="softmax", name=name)(x) for name in WEIGHTS}
    return keras.Model(images, heads)


def batch_of(seed: int, local_places: np.ndarray) -> Batch:
    """Labels are missing, of each task in another measure; the first half has no genre, each third batch no style."""
    rng = np.random.default_rng(seed)
    labels = {name: tf.constant(rng.integers(3, size=SIZE), tf.int32) for name in WEIGHTS}
    shares = {"painter": 0.3, "all_painters": 0.9, "style": 0.6 * (seed % 3 > 0), "genre": 0.5}
    weights = {name: tf.constant(rng.random(SIZE) < share, tf.float32) for name, share in shares.items()}
    weights["genre"] = tf.constant(np.arange(SIZE) >= SIZE // 2, tf.float32)
    images = tf.constant(rng.normal(size=(SIZE, 8, 8, 3)), tf.float32)
    return Batch(tf.gather(images, local_places), labels, weights, tf.constant(seed % 3), tf.range(SIZE))


def steps(case: Case, devices: Devices) -> list[np.ndarray]:
    """Losses of four steps, the network behind them, what strategy and optimizers remember, the cosines."""
    strategy, accumulate, teacher_weight, teacher_view = case
    settings = TrainSettings(
        strategy=strategy,
        learning_rate=1e-3,
        accumulate=accumulate,
        teacher_weight=teacher_weight,  # type: ignore[arg-type]
    )
    teacher = np.random.default_rng(1).dirichlet(np.ones(3), SIZE).astype(np.float32)
    model = network()
    objective = Objective(HEADS, WEIGHTS, {"style": teacher} if teacher_view == "whole" else {})
    if teacher_view == "crop":
        objective = replace(objective, crop_teachers=CropTeachers.of([model], ["style", "genre"]))
    with devices.variables():
        model = in_precision(model, "float32", synchronized=devices.count > 1)
        train_step = TrainStep(model, objective, settings, 20, devices=devices)
    local_places = devices.local_places(SIZE // accumulate, accumulate)
    step = tf.function(train_step.step)
    losses = [step(batch_of(seed, local_places)).numpy() for seed in range(4)]
    values = [*losses, *model.get_weights(), *(v.numpy() for v in train_step.state)]
    if strategy in ("joint", "pcgrad"):
        values.append(tf.function(train_step.cosines)(batch_of(1, local_places)).numpy())
    return values


def frozen_steps(devices: Devices) -> list[np.ndarray]:
    """The network after two steps with a frozen shared part, and after one more in which it trains."""
    model = network()
    with devices.variables():
        model = in_precision(model, "float32", synchronized=devices.count > 1)
        train_step = TrainStep(model, Objective(HEADS, WEIGHTS), TrainSettings(learning_rate=0.1), 20, devices=devices)
    local_places = devices.local_places(SIZE, 1)
    step = tf.function(train_step.step)
    values = []
    for seed, frozen in enumerate(("backbone", "backbone", "none")):
        step(batch_of(seed, local_places), frozen)
        values += model.get_weights() if seed else []
    return values


def seeds(devices: Devices) -> np.ndarray:
    """Of a dropout layer: as it was made, then as each device of this process has it; int (1 + devices, 2)."""
    keras.utils.set_random_seed(0)
    with devices.variables():
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dropout(0.5)])
    (seed,) = model.variables
    before = seed.numpy()
    devices.spread_seeds(model)
    assert devices.strategy is not None
    return np.stack([before, *(copy.numpy() for copy in devices.strategy.experimental_local_results(seed.value))])


def main(way: str, file: str) -> None:
    if way == "mirrored":
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    devices = connect(way)
    with devices.together():
        values = {str(case): steps(case, devices) for case in (OF_MIRRORED if way == "mirrored" else OF_PROCESSES)}
        values["frozen"] = frozen_steps(devices)
        text = devices.from_chief(b"from the chief, " * 50_000 if devices.chief else b"from another")
        assert text == b"from the chief, " * 50_000
        assert devices.computed_by_chief(lambda: {"index": devices.first}) == {"index": 0}
        assert devices.any(devices.chief) and not devices.any(False)
        dropped = seeds(devices)
    np.savez(
        file,
        seeds=dropped,
        **{f"{case}/{i}": value for case, arrays in values.items() for i, value in enumerate(arrays)},
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
