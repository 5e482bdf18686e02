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
# # 1. Look at the paintings
#
# Before a network sees anything, we do: what the tables say and where they err, which classes there are and how much
# one label tells about another, how large the pictures are, which are there twice, and how all of it is divided into
# training, validation and test. Whatever goes wrong here shows up later as an accuracy that is too good.

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
# ## The tables and their quirks
#
# `DATA` is the one thing to change: a folder with the competition's files, with a `labels.csv`, or with one sub-folder a
# painter. `None` means: Kaggle's folder, else `data/painter-by-numbers`, else the demo, which is drawn by code.

# %%
DATA = os.environ.get("PAINTERS_DATA")
SAMPLE = 6000 if Path("/kaggle/working").is_dir() else 0  # paintings that are read, in the last parts; 0: all

from painters_mtl.data.catalog import read_catalog
from painters_mtl.data.demo.collection import make_demo
from painters_mtl.data.locations import find_data

folder = find_data(DATA) or make_demo(Path("data/demo"))
catalog = read_catalog(folder)
print(f"{folder}: layout {catalog.layout}, {len(catalog.table):,} paintings with an image")
for note in catalog.notes:
    print("-", note)
catalog.table.drop(columns=["file", "member"]).sample(8, random_state=0)

# %% [markdown]
# ## What is missing
#
# Hardly any table of paintings is complete. A painting without a genre is no reason to throw its painter away: it will
# train the other heads, and its missing label will count nowhere.

# %%
labels = catalog.table[["painter", "style", "genre"]].replace("", pd.NA)
pd.DataFrame({"labelled": labels.notna().sum(), "missing": labels.isna().sum(), "classes": labels.nunique()})

# %% [markdown]
# ## Classes
#
# The painter head has few classes, for a network cannot learn a painter from three works. How steep is the fall?

# %%
figure, axes = plt.subplots(1, 3, figsize=(13, 3.6))
for axis, (task, wanted) in zip(axes, {"painter": 8, "style": 10, "genre": 23}.items(), strict=True):
    counts = labels[task].value_counts()
    colours = ["#1f5fa8"] * wanted + ["#bbbbbb"] * max(0, len(counts) - wanted)
    axis.bar(range(len(counts[:60])), counts[:60], color=colours[: len(counts[:60])])
    axis.set(
        title=f"{task}: {len(counts)} values, the first {min(wanted, len(counts))} are classes", ylabel="paintings"
    )
    axis.set_xticks([])
plt.show()

# %% [markdown]
# ## What one label tells about another
#
# If the painter settles the style, then a network that learns both learns one thing twice, and the two tasks help each
# other. The share of paintings whose style (or genre) is right when one always answers with the painter's most frequent
# one says how much is settled.

# %%
rows = []
for known in ("painter", "style", "genre"):
    for asked in ("painter", "style", "genre"):
        both = labels[[known, asked]].dropna()
        if known != asked and len(both):
            guessed = both.groupby(known)[asked].agg(lambda values: values.value_counts().iloc[0]).sum() / len(both)
            rows.append(
                {
                    "known": known,
                    "asked": asked,
                    "right": guessed,
                    "without": both[asked].value_counts(normalize=True).iloc[0],
                }
            )
pd.DataFrame(rows).style.format({"right": "{:.0%}", "without": "{:.0%}"}).hide(axis="index")

# %%
top_painters, top_styles = (labels[t].value_counts().index[:n] for t, n in (("painter", 8), ("style", 10)))
table = pd.crosstab(labels["painter"], labels["style"]).reindex(index=top_painters, columns=top_styles, fill_value=0)
figure, axis = plt.subplots(figsize=(7, 4))
axis.imshow(table.div(table.sum(axis=1).clip(lower=1), axis=0), cmap="Blues", vmin=0, vmax=1)
axis.set_xticks(range(len(top_styles)), top_styles, rotation=45, ha="right")
axis.set_yticks(range(len(top_painters)), top_painters)
axis.set_title("styles of the painters (share of their works)")
plt.show()

# %% [markdown]
# ## The pictures
#
# In the competition sizes differ by orders of magnitude, and some files are no pictures at all. `painters-mtl check
# FOLDER` opens every file and names those that cannot be read; here we open a sample.

# %%
from painters_mtl.images import files as images

sample = catalog.table.sample(min(300, len(catalog.table)), random_state=1)
sizes, refused = [], []
for file, member in zip(sample["file"], sample["member"], strict=True):
    try:
        picture = images.load_image(images.ImageFile(file, member), longest=64)
        sizes.append((picture.width, picture.height))
    except images.Unreadable as refusal:
        refused.append(str(refusal))
widths, heights = np.array(sizes).T
print(f"{len(sizes)} read, {len(refused)} refused {refused[:3]}")
print(
    f"longest side: median {np.median(np.maximum(widths, heights)):.0f}, from {np.maximum(widths, heights).min()} to {np.maximum(widths, heights).max()} pixels"
)
print(f"width / height: from {np.min(widths / heights):.2f} to {np.max(widths / heights):.2f}")

# %%
figure, axes = plt.subplots(3, 8, figsize=(13, 5.5))
for axis, (_, row) in zip(axes.ravel(), sample.iterrows(), strict=False):
    axis.set_axis_off()
    try:
        axis.imshow(images.load_image(images.ImageFile(row["file"], row["member"]), longest=160).pixels)
        axis.set_title("\n".join((row["painter"] or "?", row["style"] or "?", row["genre"] or "?")), fontsize=6)
    except images.Unreadable:
        axis.set_title("cannot be read", fontsize=6)
plt.show()

# %% [markdown]
# ## Near-copies, and the split
#
# The same painting, photographed twice, must not be in training and in test: that would be remembering, not seeing.
# Near-copies are found by painter and title and by a comparison of pixels, and stay together. The split is random, and
# stratified over all three tasks at once. Some painters are held out of training with all their works: validation then
# shows what a network makes of painters that it has never seen. `prepare` does all of it, and makes the cached images
# that training reads.

# %%
from painters_mtl.data.dataset import prepare
from painters_mtl.training.settings import TrainSettings

settings = TrainSettings(data=folder, sample=SAMPLE)
data = prepare(settings)
sizes = pd.Series(data.groups).value_counts()
print(f"{(sizes > 1).sum()} groups of near-copies, the largest has {sizes.max()}")

# %%
parts = {
    part: {task: int((data.labels[task][data.rows(part)] >= 0).sum()) for task in data.tasks}
    for part in ("train", "validation", "test")
}
pd.DataFrame(parts).T.assign(paintings=[len(data.rows(part)) for part in parts])

# %% [markdown]
# The largest group of copies, side by side: one painter and one title, or what the hash took for the same picture. In the
# competition's data it is Monet's "Water Lilies": different paintings, but so alike that to test on one what was trained on
# the others would flatter the network. So they stay together.

# %%
largest = data.table[data.groups == sizes.index[0]].head(6)
figure, axes = plt.subplots(1, max(2, len(largest)), figsize=(12, 2.6))
for axis in axes:
    axis.set_axis_off()
for axis, (_, row) in zip(axes, largest.iterrows(), strict=False):
    axis.imshow(images.load_image(images.ImageFile(row["file"], row["member"]), longest=200).pixels)
    axis.set_title(f"{row['painter']}\n{row['title'][:24]}", fontsize=7)
plt.show()

# %% [markdown]
# ## What was learned
#
# 1. Labels are missing in most collections; a painting without a genre still teaches its painter and its style.
# 2. One label tells much about another, so the three tasks are related: this is what sharing a network can use.
# 3. Copies of a work must stay on one side of the split, else a test measures memory.
#
# **Next**: [2. One network, three heads](02-one-network-three-heads.ipynb).
