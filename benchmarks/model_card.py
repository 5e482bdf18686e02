"""The model card of the bundled model, docs/model-card.md, from the run that it was made of.

    python benchmarks/model_card.py models/paintings-32-bits --package models/paintings --output docs/model-card.md

Accuracies, intervals and confusions are those of the run's test paintings (test_predictions.csv, metrics.json). How the
packaged model fares on pictures as they come is measured now, in its default runtime: on test paintings in grey and
photographed in a frame, which is simulated, on ../shared/paintings/other_styles and on ../shared/paintings/originals.
The form is that of Mitchell et al. 2019, Model Cards for Model Reporting (arXiv 1810.03993).
"""

import argparse
import io
import json
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from PIL import Image, ImageFilter, ImageOps
from statsmodels.stats.proportion import proportion_confint

from painters_mtl.common.errors import Unreadable
from painters_mtl.common.iteration import in_batches
from painters_mtl.common.messages import counted
from painters_mtl.data.csv_table import read_csv
from painters_mtl.evaluation.intervals import draw_clusters, effective_number, interval
from painters_mtl.images.decode import cached_image
from painters_mtl.images.files import find_images
from painters_mtl.inference.packaging import size_of
from painters_mtl.inference.predictor import calibrated
from painters_mtl.inference.runtime_choice import open_runtime
from painters_mtl.runs.packaged import read_package_manifest
from painters_mtl.runs.run import BASELINES, CONFIG, HISTORY, METRICS, SPLIT, Run, open_run

TEMPLATE = Path(__file__).with_name("model_card.md.jinja")
SHOWN = 8  # confusions of a task
LEAST = 0.05  # share of a class's works that makes a confusion worth naming
SMALLEST_RATE = 1e-5  # a training at a lower rate moves nothing: it is there for the fits that follow it
LOOKED_AT = 400  # test paintings that are drawn anew, in grey and in a frame


# ------------------------------------------------------------------------------------------------- numbers


def wilson(right: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share of independent works (Wilson 1927)."""
    low, high = proportion_confint(right, n, method="wilson")
    return max(0.0, low), min(1.0, high)


def over_painters(right: np.ndarray, painters: Sequence[str]) -> tuple[float, float, float]:
    """A mean over works with its 95 % interval, drawn over painters: works of one painter are not independent."""
    _, clusters = np.unique(np.asarray(painters, str), return_inverse=True)
    sums, counts = (np.bincount(clusters, weights) for weights in (right.astype(float), np.ones(len(right))))
    times = draw_clusters(len(counts), 0)
    found = interval(((times @ sums) / (times @ counts))[:, None], 0, effective_number(clusters))
    return found.mean, found.low, found.high


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


def rows_of(table: Iterable[Sequence[object]], header: Sequence[str]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *table]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


@dataclass(frozen=True)
class Card:
    """A run with what its test paintings say of it, and the packaged model."""

    run: Run
    package: Run
    metrics: Mapping[str, Any]
    config: Mapping[str, Any]
    manifest: Mapping[str, Any]
    test: pd.DataFrame  # test_predictions.csv
    split: pd.DataFrame

    def labelled(self, task: str) -> pd.DataFrame:
        """The test works with a label of a task: columns truth, predicted, painter."""
        rows = self.test[self.test[f"{task}_true"] != ""]
        painters = self.split.set_index("id")["painter"].reindex(rows["id"]).fillna("").to_numpy()
        painters = np.where(painters == "", "painter of " + rows["id"], painters)  # not all by one nobody
        return pd.DataFrame({"truth": rows[f"{task}_true"], "predicted": rows[task]}).assign(painter=painters)


def read_card(run: Path, package: Path) -> Card:
    """All that the card is made of."""
    test = pd.read_csv(run / "test_predictions.csv", dtype=str, keep_default_na=False)
    return Card(
        open_run(run),
        open_run(package),
        json.loads((run / METRICS).read_text(encoding="utf-8")),
        json.loads((run / CONFIG).read_text(encoding="utf-8")),
        json.loads((package / "manifest.json").read_text(encoding="utf-8")),
        test,
        read_csv(run / SPLIT, []),
    )


# ------------------------------------------------------------------------------------------------- sections


def accuracies(card: Card) -> str:
    table = []
    balanced = card.metrics.get("balanced", {})
    for task in card.run.tasks:
        works = card.labelled(task)
        share, low, high = over_painters((works["truth"] == works["predicted"]).to_numpy(), works["painter"].tolist())
        test, calibration = card.metrics["test"][task], card.metrics["calibration"][task]
        even = [percent(balanced[task][key]) for key in ("accuracy", "mean_recall")] if task in balanced else []
        table.append(
            [task, f"{len(works):,}", f"**{percent(share)}** ({percent(low)} to {percent(high)})",
             percent(test["top3"]), percent(test["macro_f1"]), percent(test["mean_recall"]),
             " / ".join(even), percent(test["majority"]), percent(calibration["error"]),
             percent(calibration["error_by_chance"])]
        )  # fmt: skip
    header = ["", "test works", "right, % (95 %, over painters)", "among the first three", "macro-F1", "mean recall",
              "right / mean recall with `--balanced`", "always the commonest class", "calibration error",
              "by chance"]  # fmt: skip
    return rows_of(table, header)


def by_class(card: Card, task: str) -> str:
    works, train = card.labelled(task), card.split[card.split["split"] == "train"][task]
    table = []
    for name in card.run.tasks[task].classes:
        of_class = works[works["truth"] == name]
        right, n, called = (
            int((of_class["predicted"] == name).sum()),
            len(of_class),
            int((works["predicted"] == name).sum()),
        )
        share = (
            f"{percent(right / n)} ({' to '.join(map(percent, wilson(right, n)))})" if n else "none in the test part"
        )
        precision = percent(right / called) if called else "never called so"
        table.append([name, f"{int((train == name).sum()):,}", n, share, precision])
    header = [task, "works in training", "in the test part", "of these right, % (95 %)", "of those called so right, %"]
    return rows_of(table, header)


def confusions(card: Card, task: str) -> str:
    """What is taken for what, the commonest first."""
    works = card.labelled(task)
    totals = works["truth"].value_counts()
    wrong = works[works["truth"] != works["predicted"]].groupby(["truth", "predicted"]).size().sort_values()[::-1]
    lines = [
        f"{truth} is taken for {predicted} in {count} of {totals[truth]} works ({100 * count / totals[truth]:.0f} %)"
        for (truth, predicted), count in wrong.items()
        if count > 1 and count / totals[truth] >= LEAST
    ]
    return (
        "; ".join(lines[:SHOWN]) + "."
        if lines
        else "No class is taken for another in two of its works that are 5 % of them."
    )


def unknown(card: Card) -> str:
    """What the scores for unknown classes are worth; their form differs between versions of metrics.json."""
    found = card.metrics.get("unknown") or {}
    by_task = {"painter": found} if "groups" in found else found
    whose = {"not in training": "painters not in training", "in training": "other painters in training"}
    table = []
    for task, measured in by_task.items():
        for group, values in (measured or {}).get("groups", {}).items():
            works = whose.get(group, f"other {task}s {group}")
            refused, kept = percent(values["refused"]), percent(measured["kept"])
            table.append([task, works, f"{values['n']:,}", f"{values['auroc']:.2f}", refused, kept])
    header = [
        "",
        "works of others",
        "n",
        "AUROC",
        'called "unknown", %',
        "works of known classes that keep their name, %",
    ]
    return rows_of(table, header) if table else "Not measured in this run."


# ------------------------------------------------------------------------------------- pictures as they come


Picture = Callable[[Image.Image], Image.Image]


def as_it_is(image: Image.Image) -> Image.Image:
    return image


def in_grey(image: Image.Image) -> Image.Image:
    return ImageOps.grayscale(image).convert("RGB")


def in_a_frame(image: Image.Image) -> Image.Image:
    """As a visitor photographs it: a frame, the wall around it, a slant, light from one side, a soft lens."""
    rng = np.random.default_rng(int(np.asarray(image, np.int64).sum()) % 2**32)  # each picture has its own photograph
    longest = 480
    w, h = (round(side * longest / max(image.size)) for side in image.size)
    picture = image.resize((w, h), Image.Resampling.BICUBIC)
    wood = tuple(int(level) for level in rng.integers((90, 60, 20), (190, 150, 90)))
    framed = ImageOps.expand(ImageOps.expand(picture, 3, (40, 30, 20)), round(longest * rng.uniform(0.05, 0.1)), wood)
    grey = int(rng.integers(150, 235))
    wall = ImageOps.expand(framed, round(longest * rng.uniform(0.08, 0.2)), (grey, grey, grey))
    w, h = wall.size
    corners = np.array([0, 0, 0, h, w, h, w, 0]) + rng.uniform(-0.04, 0.04, 8) * np.array([w, h] * 4)
    slanted = wall.transform(
        (w, h), Image.Transform.QUAD, tuple(corners), Image.Resampling.BICUBIC, fillcolor=(grey, grey, grey)
    )
    light = np.linspace(rng.uniform(0.7, 0.9), rng.uniform(0.95, 1.1), w)[None, :, None]
    lit = Image.fromarray(np.clip(np.asarray(slanted, float) * light, 0, 255).astype(np.uint8))
    return lit.filter(ImageFilter.GaussianBlur(0.8))


def labels_of(run: Run, pictures: Iterable[bytes]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Calibrated probabilities and scores of known classes by task: float (n, classes) and (n,)."""
    images = np.stack([cached_image(picture, run.cache_side, run.views)[1] for picture in pictures])
    forward = open_runtime(run, "auto")
    batches = [forward(images[batch]) for batch in in_batches(len(images), 32)]
    outputs = {name: np.concatenate([np.asarray(batch[name]) for batch in batches]) for name in batches[0]}
    return calibrated(run, outputs)


def changed_pictures(card: Card, paintings: Path) -> str:
    """Accuracy on the same test works as they are, in grey and in a frame."""
    ids = card.test["id"].to_numpy()[
        np.linspace(0, len(card.test) - 1, min(LOOKED_AT, len(card.test))).round().astype(int)
    ]
    rows = card.test.set_index("id").loc[ids]
    ways: dict[str, Picture] = {"as they are": as_it_is, "in grey": in_grey, "in a frame, photographed": in_a_frame}
    table = []
    for name, change in ways.items():
        soft, scores = labels_of(card.package, (encoded(paintings / one, change) for one in ids))
        cells = [name]
        for task, classes in ((task.name, task.classes) for task in card.package.tasks.values()):
            truth = rows[f"{task}_true"].to_numpy()
            there = truth != ""
            right = np.array(classes, object)[soft[task].argmax(axis=1)] == truth
            doubt = card.package.unknown(task, scores[task])
            cells += [f"{percent(right[there].mean())} ({there.sum()})", percent(np.mean(doubt[there]))]
        table.append(cells)
    header = ["test works"]
    for task in card.package.tasks:
        header += [f"{task} right, % (n)", "doubted, %"]
    return rows_of(table, header)


def encoded(file: Path, change: Picture) -> bytes:
    """A changed picture as a JPEG."""
    with Image.open(file) as image:
        changed = change(image.convert("RGB"))
    buffer = io.BytesIO()
    changed.save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def other_styles(card: Card, folder: Path) -> str:
    """What it says of paintings in styles that it does not know."""
    table = pd.read_csv(folder / "labels.csv", dtype=str, keep_default_na=False)
    known = card.package.tasks["style"].classes
    table = table[~table["style"].isin(known)]
    soft, scores = labels_of(card.package, ((folder / name).read_bytes() for name in table["filename"]))
    genres = card.package.tasks["genre"].classes
    there = table["genre"].isin(genres).to_numpy()
    right = np.array(genres, object)[soft["genre"].argmax(axis=1)] == table["genre"].to_numpy()
    styles = pd.Series(np.array(known, object)[soft["style"].argmax(axis=1)]).value_counts()[:3]
    named = ", ".join(f"{name} {count}" for name, count in styles.items())
    painters = ~table["artist"].isin(card.package.tasks["painter"].classes).to_numpy()
    refused = card.package.unknown("style", scores["style"]).mean()
    refused_painters = card.package.unknown("painter", scores["painter"])[painters].mean()
    sure = (soft["style"].max(axis=1) > 0.8).mean()
    return (
        f"Of {len(table)} paintings in {table['style'].nunique()} styles that it does not know (Renaissance, "
        f"Romanticism, Realism, Surrealism and others) its style head doubts {percent(refused)} %; the others are "
        f"called by one of its own styles (most often {named}), {percent(sure)} % of all with more than 80 % "
        f"confidence. The genre is right in {percent(right[there].mean())} % of the {there.sum()} whose genre it has, "
        f"and the painter is doubted in {percent(refused_painters)} % of the {painters.sum()} that are by none of its "
        "painters."
    )


def contemporaries(package: Run, folder: Path) -> str:
    """What it says of works by painters who are none of its classes and worked beside some of them."""
    table = pd.read_csv(folder / "labels.csv", dtype=str, keep_default_na=False)
    known = np.array(package.tasks["painter"].classes, object)
    table = table[(table["artist"] != "") & ~table["artist"].isin(known)]
    soft, scores = labels_of(package, ((folder / "images" / name).read_bytes() for name in table["filename"]))
    doubted = package.unknown("painter", scores["painter"])
    named = pd.Series(np.where(doubted, "unknown", known[soft["painter"].argmax(axis=1)]), table.index)
    sure = (~doubted & (soft["painter"].max(axis=1) > 0.8)).mean()
    most = table["artist"].value_counts()
    habits = []
    for painter in most.index[most >= 40]:
        name, count = next(iter(named[table["artist"] == painter].value_counts().items()))
        if name != "unknown" and count > most[painter] / 2:
            habits.append(f"{painter} is mostly called {name} ({count} of {most[painter]})")
    return (
        f"Painters who worked beside those that it knows are the hard case. Of {len(table)} works by others, most of "
        f"them Impressionists (`gallery`; some of these works were in training, as works by others), it calls "
        f"{percent(doubted.mean())} % unknown, and gives {percent(sure)} % a wrong name with more than 80 % "
        f"confidence: {', '.join(habits)}."
    )


def originals(card: Card, folder: Path) -> str:
    """Files as they came: how many are read, and how sure it is."""
    pictures, refused = [], 0
    for file in find_images(folder):
        try:
            data = file.read()
            cached_image(data, card.package.cache_side, card.package.views)
            pictures.append(data)
        except Unreadable:
            refused += 1
    soft, scores = labels_of(card.package, pictures)
    doubts = {task: percent(card.package.unknown(task, scores[task]).mean()) for task in card.package.tasks}
    sure = {task: percent(soft[task].max(axis=1).mean()) for task in card.package.tasks}
    said = ", ".join(f"{task} {sure[task]} % ({doubts[task]} % doubted)" for task in doubts)
    return (
        f"Of {len(pictures) + refused} files as they came (full size, CMYK, greyscale, transparent, wrongly named) "
        f"{len(pictures)} are read and {refused} are refused with the reason. They have no labels; mean confidence: "
        f"{said}."
    )


# ------------------------------------------------------------------------------------------------- the page


def page(card: Card, paintings: Path) -> str:
    """The model card as Markdown, from the template beside this file."""
    manifest, config = card.manifest, card.config
    counts, compared = card.split["split"].value_counts(), manifest["compared_with_32_bits"]
    of_train = card.split[card.split["split"] == "train"]["painter"]
    template = jinja2.Template(TEMPLATE.read_text(encoding="utf-8"), undefined=jinja2.StrictUndefined)
    filled = template.render(
        config=config,
        metrics=card.metrics,
        made_with=manifest["made_with"],
        sizes=", ".join(f"{len(task.classes)} {name}s" for name, task in card.run.tasks.items()),
        trainings=rows_of(
            trainings(card.run.folder), ("training", "begins with", "what was trained", "taught by", "seed", "seconds")
        ),
        megabytes=size_of(card.package.folder) / 1e6,
        agreement=min(compared["agreement"][task] for task in card.run.tasks),
        compared=compared["paintings"],
        painters=card.run.tasks["painter"].classes,
        counts={part: int(counts.get(part, 0)) for part in ("train", "validation", "test")},
        trained_painters=of_train[of_train != ""].nunique(),
        accuracies=accuracies(card),
        tasks=[(task, by_class(card, task), confusions(card, task)) for task in card.run.tasks],
        unknown=unknown(card),
        other_styles=other_styles(card, paintings / "other_styles"),
        contemporaries=contemporaries(card.package, paintings / "gallery"),
        changed=changed_pictures(card, paintings / "wikiart"),
        looked_at=min(LOOKED_AT, len(card.test)),
        originals=originals(card, paintings / "originals"),
    )
    return "\n\n".join(wrapped(paragraph) for paragraph in re.split(r"\n\n+", filled.strip())) + "\n"


def trainings(folder: Path) -> list[tuple[str, ...]]:
    """The trainings that a run comes from and its own, earlier ones first: (name, begins with, what was trained, taught
    by, seed, seconds) each."""
    rows: dict[str, tuple[str, ...]] = {}

    def add(folder: Path) -> None:
        config, metrics = (json.loads((folder / name).read_text(encoding="utf-8")) for name in (CONFIG, METRICS))
        starts = [Path(start) for start in config["start_from"]]
        if (file := Path(config["weights"])).is_file():  # of a package, whose manifest names its run
            made_from = read_package_manifest(file.parent)["made_from"]["run"]
            starts = [file.parent.with_name(made_from)]
        for start in starts:
            if training_name(start) not in rows:
                add(start)
        begins = " and ".join(map(training_name, starts)) or str(config["weights"])
        seconds, taught = metrics["training_seconds"], ""
        if config["distill"]:
            alone = [json.loads(file.read_text(encoding="utf-8")) for file in folder.glob(f"{BASELINES}/*/{METRICS}")]
            begins = taught = f"{len(alone)} networks for one task each, from {config['weights']}"
            seconds += sum(one["training_seconds"] for one in alone)
        elif config["teachers"]:
            names = [training_name(Path(teacher)) for teacher in config["teachers"]]
            taught = ", ".join(names) + " (its crops)" * (config.get("teacher_view") == "crop")
        begins = f"the mean of {begins}" if len(starts) > 1 or config["distill"] else begins
        trained = f"{counted(len(pd.read_csv(folder / HISTORY)), 'epoch')} at {config['image_size']} pixels"
        if config["learning_rate"] and config["learning_rate"] < SMALLEST_RATE:
            trained = "its heads are fitted"
        name, seed = training_name(folder), str(config["seed"])
        rows[name] = (name, begins, trained, taught, seed, f"{seconds:,.0f}")

    add(folder)
    return list(rows.values())


def training_name(folder: Path) -> str:
    """A run's name for readers: that of its package, and of a network for one task with its run's name."""
    name = folder.name.removesuffix("-in-32-bits")
    return f"{folder.parents[1].name}/{name}" if folder.parent.name == BASELINES else name


def wrapped(paragraph: str) -> str:
    """Lines of at most 120 columns; a table stays as it is."""
    if paragraph.startswith(("|", "#")):
        return paragraph
    return textwrap.fill(paragraph, 120, break_long_words=False, break_on_hyphens=False)


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the run folder, in 32 bits")
    parser.add_argument("--package", type=Path, default=Path("models/paintings"))
    parser.add_argument("--paintings", type=Path, default=Path("../shared/paintings"))
    parser.add_argument("--output", type=Path, default=Path("docs/model-card.md"))
    options = parser.parse_args()
    text = page(read_card(options.run, options.package), options.paintings)
    options.output.write_text(text, encoding="utf-8")
    print(f"wrote {options.output}")


if __name__ == "__main__":
    main()
