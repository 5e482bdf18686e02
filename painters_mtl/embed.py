"""A vector for each painting: the features that the three heads share, for a search or a map of one's own.

    python -m painters_mtl.embed FOLDER --model models/full --output vectors.parquet
    python -m painters_mtl.embed FOLDER more.zip --output vectors.npz --map map.png --projection pca

A row for each picture, also for one that cannot be read: `path`, the label and the calibrated confidence of each task,
`error`, and `vector` (float32, as many as the network has features; for two pictures that look alike to the network the
cosine of theirs is near 1). `.npz` holds these as arrays, `numpy.load` reads it; there an unreadable picture's vector
is NaN, in `.parquet` null. The vectors are kept in data/cache: a second run computes only what is new, one that was
cut off goes on. `--map` draws the folder in two dimensions, a panel for each task. Exit status: 0 all read, 1 some were
not, 2 misuse.
"""

import importlib.util
import sys
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from painters_mtl.common import command_line
from painters_mtl.common.errors import UserError, display_path

if TYPE_CHECKING:
    import numpy as np

    from painters_mtl.inference.embeddings import Vector, Vectors

MOST = 5000  # points on a map: more hide each other, and t-SNE takes minutes
FEWEST = 10  # different pictures, for t-SNE; fewer have no neighbourhoods to keep
FEW = 30  # points that are labelled with their files' names
NAMED = 12  # classes with a colour of their own, the most frequent ones
COLOURS = (
    "#1f5fa8", "#c05a2b", "#2b7a4b", "#b03a8c", "#d9a400", "#16a3a5", "#7a4b9e", "#c0262d", "#7aa23a", "#6b4a2f",
    "#e58bb5", "#5aa9e6",
)  # fmt: skip
OTHERS = "#9a9a9a"


@dataclass
class Settings:
    """What to embed, and where to."""

    paths: tyro.conf.Positional[tuple[str, ...]]
    """folders (with all below them), zips (read in place), files, patterns such as "*.jpg", or - for a list"""
    model: Path | None = None
    """run folder of the model, such as models/full; without it the newest one in models"""
    output: Path = Path("vectors.npz")
    """the table to write: .npz, or .parquet, which needs pyarrow"""
    map: Path | None = None
    """also draw a map of the pictures, in which alike ones are near each other: .png, .svg or .pdf"""
    projection: Literal["tsne", "pca"] = "tsne"
    """how the map is made: tsne keeps neighbours together, pca keeps the large distances"""
    cache: Path = Path("data/cache")
    """where the vectors are kept"""
    batch_size: int = 32
    """pictures that go through the network at once"""
    threads: int = 0
    """how many pictures are decoded at once; 0: as many as there are cores"""


def embed(settings: Settings) -> int:
    """The verb. Returns 0 when every picture was read, 1 when some were not."""
    _check(settings)
    from painters_mtl.images.files import images_from_arguments
    from painters_mtl.inference import embeddings
    from painters_mtl.runs.run import open_run_for_pictures

    run = open_run_for_pictures(settings.model)
    files = [
        file for file in images_from_arguments(settings.paths) if settings.map is None or not file.is_at(settings.map)
    ]
    if not files:
        raise UserError(f"there is no picture in {', '.join(settings.paths)}")
    print(f"{len(files):,} pictures, with {run.folder}", flush=True)
    found = embeddings.compute(run, files, settings.cache, settings.batch_size, settings.threads)
    print(f"computed {found.computed:,} vectors, {len(files) - found.computed - len(found.errors):,} were in the cache")
    write(found, settings.output)
    print(f"wrote {len(files):,} rows to {settings.output}", flush=True)
    if settings.map is not None and len(found.errors) < len(files):
        draw_map(found, settings.map, settings.projection)
    if found.errors:
        reasons = embeddings.error_rows(found.errors.values())
        print(f"{len(found.errors):,} pictures could not be read ({reasons}): see the column error", file=sys.stderr)
    return 1 if found.errors else 0


def _check(settings: Settings) -> None:
    if not settings.paths:
        raise UserError("nothing to embed: name folders, zips or files")
    command_line.check_numbers(settings, batch_size=1, threads=0)
    wanted = {"--output": (settings.output, (".npz", ".parquet")), "--map": (settings.map, (".png", ".svg", ".pdf"))}
    for option, (file, endings) in wanted.items():
        if file is None:
            continue
        if file.suffix.lower() not in endings:
            raise UserError(f"{option} {file} must end in {' or '.join(endings)}")
        if not file.absolute().parent.is_dir() or file.is_dir():
            raise UserError(f"{option} {file} cannot be written: name a file in a folder that is there")
    if settings.output.suffix.lower() == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise UserError(
            f'--output {settings.output} needs pyarrow: pip install "painters-mtl[parquet]", or let it end in .npz'
        )


# ------------------------------------------------------------------------------------------------- the table


def write(found: "Vectors", file: Path) -> None:
    """Write `.parquet` or `.npz`, in constant memory but for the names and labels of an .npz; whole or not at all."""
    from tqdm import tqdm

    from painters_mtl.common.files import atomic_write

    rows = iter(tqdm(found, "writing", unit=" rows", mininterval=0.5, delay=2))
    with atomic_write(file) as temporary:
        if file.suffix.lower() == ".parquet":
            _write_parquet(found, rows, temporary)
        else:
            _write_npz(found, rows, temporary)


def _columns(tasks: Iterable[str]) -> list[str]:
    """The names of all columns but the vector."""
    return ["path", *(name for task in tasks for name in (task, f"{task}_confidence")), "error"]


def _cells(one: "Vector", tasks: Iterable[str]) -> dict[str, Any]:
    """A row, without the vector; None where there is no label."""
    labels = [cell for task in tasks for cell in one.labels.get(task, (None, None))]
    return dict(zip(_columns(tasks), [str(one.file), *labels, one.error], strict=True))


def _write_parquet(found: "Vectors", rows: "Iterator[Vector]", file: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from painters_mtl.inference.result_files import in_groups

    tasks = list(found.run.tasks)
    names = _columns(tasks)
    kinds = [(name, pa.float32() if name.endswith("_confidence") else pa.string()) for name in names]
    schema = pa.schema(
        [*kinds, ("vector", pa.list_(pa.float32()))],
        metadata={"model": str(found.run.folder), "network": found.network},
    )
    with pq.ParquetWriter(file, schema, use_dictionary=tasks) as out:
        for group in in_groups(rows, 1024):
            cells = [_cells(one, tasks) for one in group]
            for c in cells:  # Parquet's text is UTF-8, which a file's name need not be
                c["path"] = c["path"].encode("utf-8", "backslashreplace").decode()
            columns = {name: [c[name] for c in cells] for name in names}
            out.write_table(pa.table({**columns, "vector": [one.features for one in group]}, schema))


def _write_npz(found: "Vectors", rows: "Iterator[Vector]", file: Path) -> None:
    import numpy as np

    tasks = list(found.run.tasks)
    channels = next((len(one.features) for one in found if one.features is not None), 0)
    unknown = np.full(channels, np.nan, "<f4").tobytes()
    cells = []
    with zipfile.ZipFile(file, "w") as archive:
        with archive.open("vector.npy", "w", force_zip64=True) as out:  # one after the other: never all in memory
            header = {"descr": "<f4", "fortran_order": False, "shape": (len(found), channels)}
            np.lib.format.write_array_header_1_0(out, header)
            for one in rows:
                out.write(unknown if one.features is None else one.features.tobytes())
                cells.append(_cells(one, tasks))
        columns: dict[str, np.ndarray] = {"network": np.array(found.network)}
        for name in _columns(tasks):
            if name.endswith("_confidence"):
                columns[name] = np.array([c[name] for c in cells], np.float32)  # None becomes NaN
            else:
                columns[name] = np.array([c[name] or "" for c in cells], np.str_)
        for name, values in columns.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as out:
                np.lib.format.write_array(out, values, allow_pickle=False)


# ------------------------------------------------------------------------------------------------- the map


def draw_map(found: "Vectors", file: Path, projection: str = "tsne", most: int = MOST) -> None:
    """Draw the pictures in two dimensions, at most `most` of them, drawn at random (always the same ones)."""
    import matplotlib
    import numpy as np

    matplotlib.use("Agg")
    from painters_mtl.common.files import atomic_write

    good = [k for k, one in enumerate(found.files) if one not in found.errors]
    chosen = good if len(good) <= most else sorted(np.random.default_rng(0).choice(good, most, replace=False).tolist())
    seen = list(found.at(chosen))
    features = np.stack([one.features for one in seen if one.features is not None])
    note = f"{len(seen):,} pictures"
    if len(seen) < len(good):
        note = f"{len(seen):,} of {len(good):,} pictures, drawn at random"
    if projection == "tsne" and len(np.unique(features, axis=0)) < FEWEST:
        projection = "pca"
        print(f"fewer than {FEWEST} different pictures have no neighbourhoods: the map is by PCA", flush=True)
    print(f"drawing a map of {note}, by {NAMES[projection]}", flush=True)
    points = project(features, projection)
    labels = {task: [one.labels[task] for one in seen] for task in found.run.tasks}
    names = [one.file.name for one in seen] if len(seen) <= FEW else []
    figure = map_figure(points, labels, f"{note}, by {NAMES[projection]} of the features that the tasks share", names)
    with atomic_write(file) as temporary:
        figure.savefig(temporary, dpi=150, bbox_inches="tight", facecolor="white")
    print(f"wrote {file}", flush=True)


NAMES = {"tsne": "t-SNE", "pca": "PCA"}


def project(features: "np.ndarray", projection: str = "tsne", seed: int = 0) -> "np.ndarray":
    """Features, float32 (n, channels), to points of a plane, float64 (n, 2).

    The vectors are first brought to length 1, so that distances say what cosines say. "pca": the two directions of most
    variance. "tsne": t-SNE (van der Maaten & Hinton 2008) of their first 50, with perplexity 30, less where n < 91.
    """
    import numpy as np
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits  # comes with scikit-learn

    n = len(features)
    unit = features.astype(np.float64)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    wanted = min(2 if projection == "pca" else 50, n, unit.shape[1])
    if np.ptp(unit, axis=0).max() < 1e-9:  # one picture, or the same one again: no direction is different
        return np.zeros((n, 2))
    reduced = PCA(wanted, svd_solver="full" if n <= 200 else "auto", random_state=seed).fit_transform(unit)
    if projection == "pca":
        return np.pad(reduced, ((0, 0), (0, 2 - wanted)))
    tsne = TSNE(2, perplexity=min(30.0, (n - 1) / 3), init="pca", random_state=seed)
    with threadpool_limits(1 if n < 2000 else None):  # for few points threads wait for each other more than they work
        return tsne.fit_transform(reduced).astype(np.float64)


def map_figure(
    points: "np.ndarray",
    labels: Mapping[str, Sequence[tuple[str, float]]],
    note: str = "",
    names: Sequence[str] = (),
) -> Any:
    """A matplotlib figure: the points (n, 2), a panel for each task, coloured by class; the paler, the less sure.

    Args:
        labels: {task: [(class, confidence from 0 to 1), ...]}, in the order of the points.
        note: stands above.
        names: of the points, written beside them; or none.
    """
    import matplotlib.pyplot as plt
    import numpy as np
    from matplotlib.colors import to_rgb

    figure, axes = plt.subplots(1, len(labels), figsize=(5.2 * len(labels), 5), squeeze=False)
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    # Half a side of the square that holds them all, and their names.
    reach = float(np.ptp(points, axis=0).max()) * (0.65 if names else 0.54) or 1.0
    size = float(np.clip(9000 / len(points), 5, 60))
    for axis, (task, answers) in zip(axes[0], labels.items(), strict=True):
        classes = np.array([name for name, _ in answers])
        sure = np.array([confidence for _, confidence in answers])
        counts = Counter(classes.tolist()).most_common()
        colours = {name: to_rgb(c) for (name, _), c in zip(counts[:NAMED], COLOURS, strict=False)}
        colour = np.array([colours.get(name, to_rgb(OTHERS)) for name in classes])
        # Doubtful points pale towards white rather than become transparent: many of them do not add up to a sure one.
        strength = np.clip(sure, 0, 1)[:, None] ** 1.5 * 0.9 + 0.1
        order = np.argsort(sure, kind="stable")  # the sure ones on top
        axis.scatter(*points[order].T, size, (1 - strength + strength * colour)[order], linewidths=0)
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
        entries = [(f"{name}  {n:,}", colours[name]) for name, n in counts[:NAMED]]
        if rest := counts[NAMED:]:
            entries.append((f"{len(rest)} others  {sum(n for _, n in rest):,}", to_rgb(OTHERS)))
        dots = [axis.scatter([], [], 40, [c], linewidths=0, label=text.replace("$", r"\$")) for text, c in entries]
        axis.legend(
            handles=dots, loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=2, frameon=False, fontsize=9,
            handletextpad=0.1, columnspacing=1,
        )  # fmt: skip
    figure.suptitle(f"{note}; the paler a point, the less sure is its label", fontsize=10, color="#555555", y=1.0)
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.02, top=0.9, wspace=0.08)
    return figure


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    return command_line.run_command(Settings, embed, argv, "painters-mtl embed", __doc__)


if __name__ == "__main__":
    sys.exit(main())
