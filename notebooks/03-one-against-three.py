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
# # 3. One network against three
#
# One network with three heads has a third of the parameters and a third of the cost. Is it as good? One run of each on one
# split cannot tell: another seed gives other figures, and so would other test paintings. We train each network with
# several seeds and give every difference an interval.

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
SEEDS = 3

import dataclasses

from painters_mtl.data.dataset import prepare
from painters_mtl.training.fit import fit, fit_single_task
from painters_mtl.training.settings import TrainSettings

settings = TrainSettings(
    data=Path(DATA) if DATA else None,
    sample=SAMPLE,
    fine_tune="heads",
    shared_layers=(256,),
    epochs=10,
    task_weights={"painter": 1.0, "style": 1.0, "genre": 1.0},
    other_painters=0.0,
    painter_known=False,
)
data = prepare(settings)

# %% [markdown]
# ## The baselines
#
# A network for one task alone is the same network with one head: same backbone, data, split, augmentation, schedule and
# stopping rule, trained on every painting that has its label, until its own validation accuracy stops rising. By default
# the shared network also has a head over all painters and weighted losses. Both are left out here, so that only sharing is
# compared. Networks that were trained before with the same settings are read back; for other settings use another
# `folder`, or `overwrite=True` in the settings.

# %%
folder = Path("models") / f"notebook-03-{data.folder.name}"
shared, alone = [], {name: [] for name in data.trainable_tasks()}
for seed in range(SEEDS):
    of_seed = dataclasses.replace(settings, seed=seed)
    one = fit(data, of_seed, folder / f"{seed}" / "shared", keep_model=False)
    shared.append([one])  # a list: one outcome a fold
    for name, found in alone.items():
        found.append(
            [fit_single_task(data, of_seed, folder / f"{seed}" / name, name, one.metrics["updates"], keep_model=False)]
        )

# %% [markdown]
# ## The comparison
#
# The intervals are from a paired bootstrap: painters, with all of their test paintings, are drawn again 2,000 times, each
# time the same ones for both sides and all seeds. What the two sides have in common so cancels out. The spread between the
# seeds is added. With one training of each network there is a difference and no verdict, since the next training may differ
# by more. McNemar's exact test is a second opinion: it counts only paintings that one side has right and the other wrong.

# %%
from painters_mtl.studies.comparison import compare
from painters_mtl.studies.summary import text, verdicts
from painters_mtl.studies.timing import time_predictions

result = compare(data, shared, alone, time_predictions(data, settings, list(alone)))
print(text(result))

# %%
from painters_mtl.reports.comparison_figures import differences_figure

differences_figure({"": result})

# %% [markdown]
# ## What can be concluded, and what cannot
#
# An interval that holds 0 does not say that the two are equal: it says that these paintings and seeds cannot tell them
# apart. How small a difference could they have told? Half the width of the interval:

# %%
for name, task in result["tasks"].items():
    mean, low, high = (100 * v for v in task["difference"]["accuracy"])
    print(f"{name:8} {task['n']:5,} paintings: differences below {(high - low) / 2:.1f} points cannot be seen")
print(*verdicts(result), sep="\n")

# %% [markdown]
# ## Do they err on the same paintings?
#
# If the shared network and the single ones err on different paintings, an average of both would be better than either; if
# on the same, those paintings are hard, and no way of training will mend them.

# %%
pd.DataFrame({name: task["agreement"] for name, task in result["tasks"].items()}).T.style.format("{:.1%}")

# %% [markdown]
# ## What was learned
#
# 1. One training of each network proves nothing: the next seed may differ by more than the difference.
# 2. Intervals are drawn over painters, since the works of one painter are alike, and both sides are drawn together.
# 3. An interval that holds 0 is no proof that two networks are equal; it says how small a difference could be seen.
#
# With a backbone that trains too (`painters-mtl compare --data FOLDER --seeds 5`) the question is a harder one,
# since the tasks then share millions of weights; docs/results.md has the answer.
#
# **Next**: [4. Ways to train together](04-ways-to-train-together.ipynb).
