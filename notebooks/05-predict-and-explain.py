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

# %% [markdown]
# ## The bundled model
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
# What follows compares predictions with labels. For that we train a quick network on the collection at hand.

# %%
SAMPLE = 6000 if Path("/kaggle/working").is_dir() else 0  # paintings that are used; 0: all

from painters_mtl.data.dataset import prepare
from painters_mtl.runs.model_choice import open_run_for_pictures
from painters_mtl.training.fit import fit
from painters_mtl.training.settings import TrainSettings

# A quick network that knows four painters; read back if it is there (for other settings take another `folder`). A better
# one takes minutes: painters-mtl train
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
run = open_run_for_pictures(folder)  # None: the newest run of real paintings, else the bundled model

# %% [markdown]
# ## A folder
#
# On the command line: `painters-mtl predict FOLDER --model models/notebook-05-demo --output gallery.html`. In Python
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
# ## Unknown painters
#
# A softmax always names somebody. So the network has a known-class head beside the painter head, fitted at the end to works
# of the known painters and of others: is this work by any of the known painters? The score `painter_known` combines its
# answer with the largest probability of the painter head. The score is no probability: it only orders the works. Its
# threshold is the value that 95 % of the known painters' works in validation reach, and may be far below 1/2. Below the
# threshold the answer is "unknown". How well does the score tell works of known painters from works of others?

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
from IPython.display import display

from painters_mtl.reports.figures import reliability_figures

print({name: f"temperature {t:.2f}" for name, t in run.temperatures.items()})
for figure in reliability_figures(data, outcome).values():
    display(figure)

# %% [markdown]
# ## Reasons
#
# HiResCAM (Draelos & Carin 2020): what each cell of a feature map adds to the logit of a class, less those of the others, by
# the gradient. A map is no proof of what the network looks at: on the command line,
# `painters-mtl explain IMAGE` covers its bright cells too, and says so where others matter as much.

# %%
from painters_mtl.evaluation.heatmaps import overlay, upsampled
from painters_mtl.images.decode import cached_image
from painters_mtl.inference.open_network import open_network
from painters_mtl.network.gradcam import gradcam

model = open_network(run)
shown = files[:4]
copies = np.stack(
    [cached_image(file.read(), 224)[1] for file in shown]
)  # larger than in training: a map of 14 x 14 cells
chosen = {task: [one.probabilities[task].argmax() for one in labelled[: len(shown)]] for task in run.tasks}
maps = {task: gradcam(model, copies, task, chosen[task]) for task in run.tasks}
figure, axes = plt.subplots(len(shown), 1 + len(run.tasks), figsize=(11, 2.8 * len(shown)))
for line, file, one, k in zip(axes, shown, labelled, range(len(shown)), strict=False):
    pixels = images.load_image(file, longest=300).pixels
    line[0].imshow(pixels)
    for axis, task in zip(line[1:], run.tasks, strict=True):
        p = one.probabilities[task]
        heat = upsampled(maps[task][k], pixels.shape[1], pixels.shape[0])
        axis.imshow(overlay(pixels, heat))
        axis.set_title(f"{task}: {run.tasks[task].classes[p.argmax()]} {p.max():.0%}", fontsize=8)
    for axis in line:
        axis.set_axis_off()
plt.show()

# %% [markdown]
# ## Paintings that are alike
#
# What the three heads share is a vector for each painting. Its nearest neighbours are paintings that are alike in
# whatever helped the three tasks. On the command line: `painters-mtl similar IMAGE --in FOLDER`.

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
