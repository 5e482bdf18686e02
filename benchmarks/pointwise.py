"""Why 1 x 1 convolutions are Dense layers and depthwise kernels do not train: images/s of a step, side by side.

    .venv/bin/python benchmarks/pointwise.py

Each of the ways, with oneDNN (TensorFlow's default) and without, runs in processes of its own, in turn, for three
rounds; the medians are compared.
"""

import os
import statistics
import subprocess
import sys
import time

SIZE, BATCH, STEPS = 96, 64, 12
WAYS = [(layer, onednn) for layer in ("conv", "dense", "dense, depthwise fixed") for onednn in ("1", "0")]


def measure(layer: str) -> float:
    """Images/s of training the upper blocks of EfficientNet-Lite0 on noise."""
    import keras
    import numpy as np

    from painters_mtl.network.backbones import set_trainable
    from painters_mtl.network.efficientnet_lite import efficientnet_lite0

    backbone = efficientnet_lite0()
    if layer == "conv":

        def as_convolution(old: keras.layers.Layer) -> keras.layers.Layer:
            if isinstance(old, keras.layers.Dense):
                return keras.layers.Conv2D(old.units, 1, use_bias=False, name=old.name)
            return old.__class__.from_config(old.get_config())

        backbone = keras.models.clone_model(backbone, clone_function=as_convolution)
    set_trainable(backbone, "top", pretrained=True)
    for part in backbone.layers:
        if isinstance(part, keras.layers.DepthwiseConv2D):
            part.trainable = layer != "dense, depthwise fixed" and int(part.name[5:].split("_")[0]) >= 5
    image = keras.Input((SIZE, SIZE, 3))
    head = keras.layers.Dense(10, activation="softmax")(keras.layers.GlobalAveragePooling2D()(backbone(image)))
    model = keras.Model(image, head)
    model.compile("adamw", "sparse_categorical_crossentropy", jit_compile=False)
    x = np.random.default_rng(0).uniform(0, 255, (BATCH, SIZE, SIZE, 3)).astype("float32")
    y = np.zeros(BATCH, "int32")
    for _ in range(3):
        model.train_on_batch(x, y)
    start = time.perf_counter()
    for _ in range(STEPS):
        model.train_on_batch(x, y)
    return STEPS * BATCH / (time.perf_counter() - start)


def main() -> None:
    """Print the table."""
    found: dict[tuple[str, str], list[float]] = {way: [] for way in WAYS}
    for _ in range(3):
        for layer, onednn in WAYS:
            environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": onednn}
            out = subprocess.run(
                [sys.executable, __file__, layer], env=environment, capture_output=True, text=True, check=True
            )
            found[layer, onednn].append(float(out.stdout.split()[-1]))
    first = statistics.median(found[WAYS[0]])
    for (layer, onednn), rates in found.items():
        rate = statistics.median(rates)
        state = "on" if onednn == "1" else "off"
        print(f"1 x 1 as {layer:<23}  oneDNN {state:<3}  {rate:6.0f} images/s  {rate / first:.2f}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(measure(sys.argv[1]))
    else:
        main()
