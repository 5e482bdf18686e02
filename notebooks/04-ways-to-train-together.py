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
# # 4. Ways to train together
#
# Joint or alternating? How should the losses be weighed? What if two tasks pull the shared weights in opposite directions?
# What if there are trained single-task models already? And what does `concatenate` do: which variant is multi-task? Each
# question is one option of the package; here they are side by side.

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

import dataclasses

from painters_mtl.data.dataset import prepare
from painters_mtl.training.fit import fit, fit_single_task
from painters_mtl.training.settings import STRATEGY_NAMES, TrainSettings

settings = TrainSettings(
    data=Path(DATA) if DATA else None,
    sample=SAMPLE,
    fine_tune="heads",
    shared_layers=(256,),
    epochs=5,
    painter_known=False,
    overwrite=True,
)
data = prepare(settings)
folder = Path("models") / f"notebook-04-{data.folder.name}"

# %% [markdown]
# ## Every strategy once
#
# * `joint`: one step on the sum of the losses.
# * `alternate`: one task in each step, with an optimizer of its own; the weights of the other heads do not change.
# * `uncertainty`, `dwa`, `gradnorm`, `famo`: the sum again, with weights that follow the losses or the gradients.
# * `pcgrad`, `cagrad`, `upgrad`: each task's gradient on the shared weights is computed separately, and the gradients are
#   combined so that no task is harmed. That costs a backward pass for each task.
#
# Each strategy is trained once: this shows how the strategies are used, not which is best. That is asked with
# `painters-mtl compare --strategies all --seeds 5`; docs/experiments.md has what it said.

# %%
outcomes = {}
for strategy in STRATEGY_NAMES:
    way = dataclasses.replace(settings, strategy=strategy, monitor_conflict=strategy == "joint")
    outcomes[strategy] = fit(data, way, folder / strategy, keep_model=False)

rows = {
    strategy: {name: measured["accuracy"] for name, measured in outcome.metrics["test"].items()}
    | {"seconds": outcome.metrics["training_seconds"]}
    for strategy, outcome in outcomes.items()
}
pd.DataFrame(rows).T.style.format("{:.1%}", subset=list(data.tasks)).format("{:.0f}", subset=["seconds"])

# %%
figure, axis = plt.subplots(figsize=(8, 4))
for strategy, outcome in outcomes.items():
    axis.plot(outcome.history["epoch"], 100 * outcome.history["val_score"], label=strategy)
axis.set(xlabel="epoch", ylabel="mean validation accuracy (%)")
axis.legend(frameon=False, ncols=3, fontsize=8)
plt.show()

# %% [markdown]
# ## Do the tasks pull in different directions?
#
# The cosine of two tasks' gradients on the shared weights tells: above 0, a step that helps one task helps the other too.
# With `monitor_conflict` the first training, `joint`, noted the cosines after each epoch.

# %%
from painters_mtl.reports.figures import conflict_figure

conflict_figure(outcomes["joint"].history, list(data.tasks))

# %% [markdown]
# ## PCGrad in ten lines
#
# Two gradients, g and h. Where their inner product is negative, PCGrad (Yu et al. 2020) takes from g its part along h, and
# from h its part along g, and adds what is left. By hand:

# %%
g, h = np.array([1.0, 0.2]), np.array([-0.6, 0.8])
inner = g @ h
g_left, h_left = (g - inner / (h @ h) * h, h - inner / (g @ g) * g) if inner < 0 else (g, h)
combined = g_left + h_left
figure, axis = plt.subplots(figsize=(4, 3))
for vector, label, colour in (
    (g, "task 1", "#1f5fa8"),
    (h, "task 2", "#c05a2b"),
    (g + h, "sum", "#999999"),
    (combined, "PCGrad", "#1a7f37"),
):
    axis.annotate("", vector, (0, 0), arrowprops={"arrowstyle": "->", "color": colour, "lw": 2})
    axis.text(*(vector * 1.08), label, color=colour)
axis.set(xlim=(-1, 1.6), ylim=(-0.2, 2.0), aspect="equal")
plt.show()
for way, step in (("PCGrad", combined), ("the sum", g + h)):
    print(f"{way}: to first order, task 1 gains {step @ g:.2f} and task 2 {step @ h:.2f}")

# %% [markdown]
# ## What `concatenate` does
#
# A painting can be seen twice: whole, and its middle at a higher resolution. Two ways bring these two inputs to the heads.
# **Concatenate**: the features of both are joined before the heads, and every head sees both. **None**: each head sees one
# input, and the tasks are linked only by the weights of the backbone. Both are multi-task learning, since in both one
# backbone serves all heads; what differs is which *input* reaches which head. Gradients tell:

# %%
import tensorflow as tf

from painters_mtl.network.multitask import build_model
from painters_mtl.network.settings import NetworkSettings
from painters_mtl.reports.network_diagram import diagram

two_views = NetworkSettings(backbone="small_convnet", image_size=32, weights="none", views=("whole", "detail"))
variants = {
    "concatenate": build_model(data.tasks, two_views),
    "none": build_model(data.tasks, dataclasses.replace(two_views, merge="none", view_of={"painter": "detail"})),
}
views = {name: tf.random.uniform((4, 32, 32, 3), maxval=255, seed=0) for name in ("image", "detail")}
rows = {}
for merge, network in variants.items():
    for task in data.tasks:
        with tf.GradientTape() as tape:
            tape.watch(views)
            top = tf.reduce_sum(network(views)[task][:, 0])
        reach = tape.gradient(top, views, unconnected_gradients="zero")
        rows[f"--merge {merge}", task] = {
            view: "reaches it" if np.abs(g).sum() > 0 else "-" for view, g in reach.items()
        }
pd.DataFrame(rows).T

# %%
from IPython.display import display

for merge, network in variants.items():
    display(diagram(network, title=f"--merge {merge}"))

# %% [markdown]
# ## From trained single-task models
#
# Suppose that there are three networks for one task each, and one network for all is wanted. `start_from` takes over their
# heads by layer name; the shared part begins with the mean of their weights (or with those of one task, or ImageNet's).
# `teachers` instead adds the probabilities that they give, the soft targets, to the labels of every painting, also where a
# label is missing (distillation).

# %%
singles = []
for name in data.trainable_tasks():
    singles.append(folder / "alone" / name)
    fit_single_task(data, settings, singles[-1], name, 0)
rows = {"from ImageNet": outcomes["joint"].metrics["test"]}
rows["heads taken over"] = fit(
    data, dataclasses.replace(settings, start_from=tuple(singles)), folder / "started", keep_model=False
).metrics["test"]
rows["taught by the three"] = fit(
    data, dataclasses.replace(settings, teachers=tuple(singles)), folder / "taught", keep_model=False
).metrics["test"]
pd.DataFrame({way: {name: f"{m['accuracy']:.1%}" for name, m in test.items()} for way, test in rows.items()}).T

# %% [markdown]
# ## What was learned
#
# 1. A strategy is a rule that turns several losses into one update; gradient methods cost a backward pass for each task.
# 2. Whether tasks conflict can be measured: it is the cosine of their gradients on the shared weights.
# 3. From trained networks, a shared one can take over heads and learn from their answers, also where labels are missing.
#
# **Next**: [5. Predict and explain](05-predict-and-explain.ipynb).
