# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 2. One network, three heads
#
# We build the network from Keras layers: one backbone that everything goes through, one hidden layer that all tasks
# share, and then a branch for each task that ends in a softmax. Then we train it, first with a loop of our own that hides
# nothing, then with the package's, and look at what it gets wrong.

# %%
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

if find_spec("painters_mtl") is None:  # on Kaggle; elsewhere `make setup` has installed it
    wheels = [wheel.parent for wheel in Path("/kaggle/input").glob("**/painters_mtl-*.whl")]
    if not wheels:
        sys.exit("painters_mtl is not installed: attach the data set that `make kaggle-wheels` makes")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", f"--find-links={wheels[0]}"]
    subprocess.run([*pip, "painters_mtl", f"--requirement={wheels[0]}/requirements.txt"], check=True)
from painters_mtl.common.notebooks import start

start()
# %config InlineBackend.figure_format = "jpeg"
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

# %%
DATA = os.environ.get("PAINTERS_DATA")  # a folder of paintings; None: Kaggle's, else the demo
SAMPLE = 6000 if Path("/kaggle/working").is_dir() else 0  # paintings that are used; 0: all

from painters_mtl.data.dataset import prepare
from painters_mtl.training.settings import TrainSettings

# The backbone stands still: its features are computed once and kept, and a training takes seconds.
settings = TrainSettings(
    data=Path(DATA) if DATA else None,
    sample=SAMPLE,
    fine_tune="heads",
    shared_layers=(256,),
    models=Path("models"),
    name="notebook",
    baselines=False,
    overwrite=True,
)
data = prepare(settings)

# %% [markdown]
# ## Share, then split
#
# The whole idea of hard parameter sharing (Caruana 1997) is in the next cell. `shared` is one layer object that is called
# once; everything behind it exists once for each task. A dict of outputs keeps the names.

# %%
import keras

from painters_mtl.network.backbones import build_backbone

keras.utils.set_random_seed(0)
backbone = build_backbone("efficientnet_lite0", settings.image_size)  # its ImageNet weights come with pip
backbone.trainable = False
image = keras.Input((None, None, 3), name="image")
features = keras.layers.GlobalAveragePooling2D(name="features")(backbone(image))
shared = keras.layers.Dense(256, activation="relu", name="shared_0")(keras.layers.Dropout(0.2)(features))
outputs = {
    name: keras.layers.Dense(len(task.classes), activation="softmax", name=name)(keras.layers.Dropout(0.2)(shared))
    for name, task in data.tasks.items()
}
network = keras.Model(image, outputs)
print({name: output.shape for name, output in network.output.items()})

# %% [markdown]
# `build_model` makes the same, and more on demand; `diagram` draws it. Blue is shared, the other colours belong to one
# task each.

# %%
from painters_mtl.describe import parameter_table
from painters_mtl.network.multitask import build_model
from painters_mtl.reports.network_diagram import diagram

ours = build_model(data.tasks, settings)
print(parameter_table(ours))
diagram(ours)

# %% [markdown]
# ## Three losses, and labels that are missing
#
# The loss is the sum of three cross-entropies. A painting without a genre has no genre loss, and the mean must be taken
# over those that have one: dividing by all would make a rare label weigh less than a common one. In Keras terms: a missing
# label is any class with sample weight 0, and the reduction is `mean_with_sample_weight`.
#
# Here is joint training with nothing hidden, on the features of the frozen backbone.

# %%
import tensorflow as tf

from painters_mtl.network.features import cached_features

encoded = cached_features(ours, data, settings.image_size)[:, 0]  # (paintings, channels)
train, validation = data.rows("train"), data.rows("validation")
heads = keras.Model(features, network.output)
optimizer = keras.optimizers.AdamW(2e-3)
cross_entropy = keras.losses.SparseCategoricalCrossentropy(reduction="mean_with_sample_weight")


@tf.function
def step(x, labels):
    with tf.GradientTape() as tape:
        p = heads(x, training=True)
        losses = [
            cross_entropy(tf.maximum(labels[name], 0), p[name], sample_weight=tf.cast(labels[name] >= 0, tf.float32))
            for name in p
        ]
        loss = tf.add_n(losses)
    optimizer.apply(tape.gradient(loss, heads.trainable_variables), heads.trainable_variables)
    return tf.stack(losses)


rng = np.random.default_rng(0)
for epoch in range(8):
    order = rng.permutation(train)
    losses = [
        step(encoded[rows], {name: data.labels[name][rows] for name in data.tasks})
        for rows in np.array_split(order, len(order) // 64 + 1)
    ]
    p = heads(encoded[validation], training=False)
    right = {
        name: np.mean((np.argmax(p[name], axis=1) == data.labels[name][validation])[data.labels[name][validation] >= 0])
        for name in data.tasks
    }
    print(
        epoch + 1,
        "losses",
        np.round(np.mean(losses, axis=0), 2),
        "validation",
        {k: f"{v:.1%}" for k, v in right.items()},
    )

# %% [markdown]
# ## The package's loop
#
# `fit` does the same, and what a real training needs beside it: label smoothing, a learning rate that rises and falls,
# works with a scarce label drawn more often, the best epoch kept, a run folder, calibration, and exactly the same result
# again for the same seed. Its losses are weighted (painter 1/2, style 1, genre 2). During training a further head learns all
# painters with ten works or more, which helps the features; its loss is why the sum of the losses is larger. At the end
# this head is dropped, and a known-class head is added: is a work by any of the known painters at all? With
# `fine_tune="top"` the upper half of the backbone trains too; that takes minutes instead of seconds and is worth it.
#
# On Kaggle, where a session ends after some hours, train with the command line and keep the files: set Persistence to
# "Files only", or attach the output of the saved version to the next session and copy it back (`!cp -r
# /kaggle/input/NAME/models .`). `!painters-mtl train --image-size 224 --name full` writes a checkpoint every five
# minutes, and after the session `!painters-mtl train --resume --name full` goes on from the last checkpoint. On a
# CPU that gives the same network bit for bit.

# %%
from painters_mtl.training.fit import fit

outcome = fit(data, settings, Path("models/notebook"))
pd.DataFrame(outcome.metrics["test"]).T

# %%
from IPython.display import display

from painters_mtl.reports import figures

for figure in figures.training_figures(outcome.history).values():
    display(figure)

# %% [markdown]
# ## What it gets wrong
#
# Rows are the true classes, columns the predicted ones. Confusions between neighbours (a cityscape and a landscape) are of
# another kind than those between classes that have nothing in common.

# %%
for name, task in data.tasks.items():
    labels, predicted = data.labels[name][outcome.test_rows], outcome.test_probabilities[name].argmax(axis=1)
    right = (labels == predicted)[labels >= 0]
    title = f"{name}: {right.mean():.1%} of {len(right):,} right"
    display(figures.confusion_figure(labels, predicted, task.classes, title))

# %%
figures.contact_sheet(figures.examples(data, outcome))

# %% [markdown]
# ## What was learned
#
# 1. Hard parameter sharing is one layer object that is called once, with a head for each task behind it.
# 2. A missing label is a sample weight of 0, and the mean is taken over the labels that are there.
# 3. Confusions between neighbouring classes weigh less than the accuracy says; look at them, not only at the number.
#
# **Next**: [3. One against three](03-one-against-three.ipynb): is one network with three heads as good as three networks?
