"""A map of pictures: points of a plane, in which alike pictures are near each other, coloured by class."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from painters_mtl.common.errors import display_path
from painters_mtl.common.figure_style import figure_style
from painters_mtl.common.files import atomic_write
from painters_mtl.common.messages import counted, say
from painters_mtl.data.tasks import UNKNOWN
from painters_mtl.inference.nearest import unit_vectors

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from painters_mtl.inference.embeddings import Vectors

MOST = 5000  # points on a map: more hide each other, and t-SNE takes minutes
FEWEST = 10  # different pictures, for t-SNE; fewer have no neighbourhoods to keep
FEW = 30  # points that are labelled with their files' names
NAMED = 12  # classes with a colour of their own, the most frequent ones
COLOURS = (
    "#1f5fa8", "#c05a2b", "#2b7a4b", "#b03a8c", "#d9a400", "#16a3a5", "#7a4b9e", "#c0262d", "#7aa23a", "#6b4a2f",
    "#e58bb5", "#5aa9e6",
)  # fmt: skip
OTHERS = "#9a9a9a"
NO_CLASS = "#d8d8d8"  # of points that are called unknown
PROJECTIONS = {"tsne": "t-SNE", "pca": "PCA"}


def write_map(vectors: "Vectors", file: Path, projection: str = "tsne", most: int = MOST) -> None:
    """Draw the pictures in two dimensions, at most `most` of them, drawn at random (always the same ones).

    Args:
        file: a .png, .svg or .pdf, written whole.
        projection: one of `PROJECTIONS`.
    """
    readable = [k for k, each in enumerate(vectors.files) if each not in vectors.errors]
    chosen = readable
    if len(readable) > most:
        chosen = sorted(np.random.default_rng(0).choice(readable, most, replace=False).tolist())
    shown = list(vectors.at(chosen))
    features = np.stack([vector.features for vector in shown if vector.features is not None])
    note = counted(len(shown), "picture")
    if len(shown) < len(readable):
        note = f"{len(shown):,} of {len(readable):,} pictures, drawn at random"
    if projection == "tsne" and len(np.unique(features, axis=0)) < FEWEST:
        projection = "pca"
        say(f"fewer than {FEWEST} different pictures have no neighbourhoods: the map is by PCA")
    note += f", by {PROJECTIONS[projection]}"
    say(f"drawing a map of {note}")
    points = project(features, projection)
    labels = {task: [vector.labels[task] for vector in shown] for task in vectors.run.tasks}
    names = [vector.file.name for vector in shown] if len(shown) <= FEW else []
    with figure_style(), atomic_write(file) as temporary:
        figure = map_figure(points, labels, f"{note} of the features that the tasks share", names)
        figure.savefig(temporary, dpi=150, bbox_inches="tight", facecolor="white")
    say(f"wrote {file}")


def project(features: np.ndarray, projection: str = "tsne", seed: int = 0) -> np.ndarray:
    """Points of a plane, float64 (n, 2), for features, float32 (n, channels).

    The vectors are first brought to length 1, so that distances say what cosines say. "pca": the two directions of most
    variance. "tsne": t-SNE (van der Maaten & Hinton 2008) of their first 50, with perplexity 30, less where n < 91.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits  # comes with scikit-learn

    n = len(features)
    unit = unit_vectors(features)
    dimensions = min(2 if projection == "pca" else 50, n, unit.shape[1])
    if np.ptp(unit, axis=0).max() < 1e-9:  # one picture, or the same one again: no direction is different
        return np.zeros((n, 2))
    solver = "full" if n <= 200 else "auto"
    reduced = PCA(dimensions, svd_solver=solver, random_state=seed).fit_transform(unit)
    if projection == "pca":
        return np.pad(reduced, ((0, 0), (0, 2 - dimensions)))
    tsne = TSNE(2, perplexity=min(30.0, (n - 1) / 3), init="pca", random_state=seed)
    with threadpool_limits(1 if n < 2000 else None):  # for few points threads wait for each other more than they work
        return tsne.fit_transform(reduced).astype(np.float64)


def map_figure(
    points: np.ndarray, labels: Mapping[str, Sequence[tuple[str, float]]], note: str = "", names: Sequence[str] = ()
) -> "Figure":
    """A matplotlib figure: the points (n, 2), a panel for each task, coloured by class; the paler, the less sure.

    Args:
        labels: {task: [(class, confidence from 0 to 1), ...]}, in the order of the points.
        note: stands above.
        names: of the points, written beside them; or none.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2 * len(labels), 5))
    axes = figure.subplots(1, len(labels), squeeze=False)[0]
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    # Half a side of the square that holds them all, and their names.
    reach = float(np.ptp(points, axis=0).max()) * (0.65 if names else 0.54) or 1.0
    for axis, (task, of_task) in zip(axes, labels.items(), strict=True):
        _draw_points(axis, points, of_task)
        for point, name in zip(points, names, strict=False):
            text = display_path(name) if len(display_path(name)) <= 26 else display_path(name)[:25] + "…"
            axis.annotate(
                text, point, (0, 6), textcoords="offset points", ha="center", fontsize=7, color="#555555",
                parse_math=False,
            )  # fmt: skip
        axis.set_title(task, fontsize=13)
        axis.set(xticks=[], yticks=[], aspect="equal")
        axis.set(xlim=(middle[0] - reach, middle[0] + reach), ylim=(middle[1] - reach, middle[1] + reach))
        axis.spines[:].set_color("#cccccc")
    figure.suptitle(f"{note}; the paler a point, the less sure is its label", fontsize=10, color="#555555", y=1.0)
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.02, top=0.9, wspace=0.08)
    return figure


def _draw_points(axis: Any, points: np.ndarray, labels: Sequence[tuple[str, float]]) -> None:
    """The points of one panel, and its legend: the most frequent classes, and how many points each has."""
    from matplotlib.colors import to_rgb

    classes = [name for name, _ in labels]
    confidences = np.array([confidence for _, confidence in labels])
    unknown = classes.count(UNKNOWN)
    counts = Counter(name for name in classes if name != UNKNOWN).most_common()
    colours = {name: to_rgb(colour) for (name, _), colour in zip(counts[:NAMED], COLOURS, strict=False)}
    colours[UNKNOWN] = to_rgb(NO_CLASS)
    colour = np.array([colours.get(name, to_rgb(OTHERS)) for name in classes])
    # Doubtful points pale towards white rather than become transparent: many of them do not add up to a sure one.
    strength = np.clip(confidences, 0, 1)[:, None] ** 1.5 * 0.9 + 0.1
    is_class = np.array([name != UNKNOWN for name in classes])
    order = np.lexsort((confidences, is_class))  # the sure ones on top, and what has no class below all
    size = float(np.clip(9000 / len(points), 5, 60))
    axis.scatter(*points[order].T, size, (1 - strength + strength * colour)[order], linewidths=0)
    entries = [(f"{name}  {count:,}", colours[name]) for name, count in counts[:NAMED]]
    if others := counts[NAMED:]:
        entries.append((f"{len(others)} others  {sum(count for _, count in others):,}", to_rgb(OTHERS)))
    if unknown:
        entries.append((f"{UNKNOWN}  {unknown:,}", colours[UNKNOWN]))
    dots = [axis.scatter([], [], 40, [colour], linewidths=0, label=text) for text, colour in entries]
    legend = axis.legend(
        handles=dots, loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=2, frameon=False, fontsize=9,
        handletextpad=0.1, columnspacing=1,
    )  # fmt: skip
    for text in legend.get_texts():  # a name is no formula
        text.set_parse_math(False)
