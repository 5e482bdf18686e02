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
# # 6. The competition's own task: the same painter?
#
# "Painter by Numbers" does not ask for a painter's name. It shows two paintings, often of painters that were never seen in
# training, and asks whether one hand made both. The answer is a number for each pair, judged by the area under the ROC
# curve (AUC). The winner multiplied the softmaxes of a network over all painters. We do the same on the features that our
# three heads share.

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
from painters_mtl.runs.run import open_run
from painters_mtl.training.fit import fit
from painters_mtl.training.settings import TrainSettings

# With hours to spend: painters-mtl train --image-size 224 --name full. Then take its split and its network: prepare with
# TrainSettings(data=..., split=Path("models/full/split.csv")) alone, and open_run("models/full") instead of fit below.
settings = TrainSettings(
    data=Path(DATA) if DATA else None,
    sample=SAMPLE,
    painters=("4",),
    fine_tune="heads",
    shared_layers=(256,),
    models=Path("models"),
    baselines=False,
)
data = prepare(settings)
folder = settings.models / f"notebook-05-{data.folder.name}"
fit(data, settings, folder)  # read back if notebook 5 has trained it
run = open_run(folder)

# %% [markdown]
# ## The pairs
#
# The competition gives `submission_info.csv`: index, image1, image2, 22 million lines. Here we first make a table of that
# form from the test paintings, `our_pairs.csv`, so that we know the truth. The last cells score the real one.

# %%
from itertools import combinations

test = data.table.iloc[np.random.default_rng(0).permutation(data.rows("test"))[:250]]
test = test[(test["painter"] != "") & ~test["id"].map(lambda i: Path(i).name).duplicated(keep=False)]
painter = {Path(name).name: who for name, who in zip(test["id"], test["painter"], strict=True)}
pairs_table = pd.DataFrame(combinations(painter, 2), columns=["image1", "image2"])
pairs_table.index.name = "index"
pairs_table.to_csv("our_pairs.csv")
same = pairs_table["image1"].map(painter) == pairs_table["image2"].map(painter)
print(
    f"{len(pairs_table):,} pairs of {len(painter)} paintings by {test['painter'].nunique()} painters, {same.mean():.1%} by one"
)
pairs_table.head(3)

# %% [markdown]
# ## Encode once, score often
#
# Each picture goes through the network once; after that a pair is an inner product of two short vectors. That is why
# 22 million pairs take a minute and not a month. Three scores: the product of the softmaxes of the painter head (four
# painters here; it knows nothing of the others), the cosine of the features, and the product of softmaxes over every painter with ten works,
# learned on the features in seconds.

# %%
from sklearn.metrics import roc_auc_score

from painters_mtl import pairs

pictures = tuple(
    Path(file) / member if member else Path(file) for file, member in zip(test["file"], test["member"], strict=True)
)
areas, submissions = {}, {}
for score in ("product", "cosine", "learned"):
    asked = pairs.Settings(
        images=pictures,
        pairs=Path("our_pairs.csv"),
        output=Path(f"our_{score}.csv"),
        model=run.folder,
        score=score,
        data=data.folder,
    )
    pairs.pairs(asked)
    submissions[score] = pd.read_csv(asked.output)
    areas[score] = roc_auc_score(same, submissions[score]["sameArtist"])
submissions["learned"].head(3)

# %%
pd.Series(areas, name="AUC").to_frame().style.format("{:.3f}")

# %% [markdown]
# ## How sure is that?
#
# Pairs are not independent: a painting is in hundreds of them, and the works of one painter look alike. Drawing *pairs*
# anew would give an interval that is far too narrow. We draw painters.

# %%
from painters_mtl.inference.pair_auc import Pairs, auc_draws, intervals, table

names = sorted(set(painter.values()))
number = {name: k for k, name in enumerate(names)}
trained = set(data.table["painter"].to_numpy()[data.rows("train")])
known = Pairs(
    pairs_table["image1"].map(painter).map(number).to_numpy(),
    pairs_table["image2"].map(painter).map(number).to_numpy(),
    np.array([name in trained for name in names]),
)
draws = {score: auc_draws(found["sameArtist"].to_numpy(), known, 200) for score, found in submissions.items()}
for score, found in draws.items():
    print(score, table(intervals(found, known), known), sep="\n")

# %%
figure, axis = plt.subplots(figsize=(6, 3))
found = submissions["learned"]["sameArtist"].rank(pct=True)
axis.hist(
    [found[~same], found[same]],
    bins=20,
    density=True,
    label=["two painters", "one painter"],
    color=["#c05a2b", "#1f5fa8"],
)
axis.set(xlabel="rank of the score", ylabel="density")
axis.legend(frameon=False)
plt.show()

# %% [markdown]
# ## The submission
#
# Kaggle wants `submission.csv`: `index,sameArtist`. Where the competition's table lies beside its test pictures, the next
# cell writes it: 23,817 pictures are encoded, which takes some minutes, then 22 million pairs are scored. With hours to
# spend, train a better network first (above). On the command line: `painters-mtl pairs --model models/full
# --pairs submission_info.csv --images data/painter-by-numbers --output submission.csv`

# %%
real = [data.folder / f"submission_info.csv{end}" for end in ("", ".zip")]
places = [data.folder / name for name in ("test.zip", "test")]
real, places = ([path for path in paths if path.exists()] for paths in (real, places))
if real and places:
    # The whole folder: some test pictures are damaged, and their replacements lie beside them.
    asked = pairs.Settings(images=(data.folder,), pairs=real[0], output=Path("submission.csv"), model=run.folder)
    pairs.pairs(asked)
else:
    print(f"{data.folder} has no submission_info.csv with the test pictures beside it: nothing to submit")

# %% [markdown]
# ## What was learned
#
# 1. Each picture goes through the network once; a pair is then one inner product, so that 22 million pairs take a minute.
# 2. A score learned over all painters also serves painters that are not among the classes.
# 3. Pairs are not independent: an interval that draws pairs is far too narrow, one that draws painters is not.
