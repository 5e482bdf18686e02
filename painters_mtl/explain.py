"""Show what in a painting speaks for its labels: the painting beside a Grad-CAM for each head.

    python -m painters_mtl.explain a.jpg b.png --model models/full
    python -m painters_mtl.explain FOLDER paintings.zip --tasks painter --size 320 --output maps
    python -m painters_mtl.explain a.jpg --classes painter="Claude Monet" genre=landscape --layer finer

For every picture a PNG, NAME-explained.png, in --output: the original and, for each task, the class, its confidence
and the map of Selvaraju et al. 2017 (arXiv 1610.02391) over the picture: bright where the last feature map of the
backbone speaks for that class, dark where it does not. When the maps of different pictures are all alike, they tell of
the network and not of the pictures: it says so, and --layer finer helps. Exit status: 0 all read, 1 some pictures were
not, 2 misuse.
"""

import dataclasses
import re
import sys
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from painters_mtl.common import command_line, lazy_imports
from painters_mtl.common.errors import Unreadable, UserError, display_path

if TYPE_CHECKING:
    import numpy as np

    from painters_mtl.data.tasks import Task
    from painters_mtl.images.files import ImageFile
    from painters_mtl.images.stream import ImageOutput
    from painters_mtl.runs.run import Run

ENDING = "-explained.png"
LARGEST = 2048  # of --size
ALIKE, ENOUGH = 0.8, 8  # maps are alike above this `likeness` (finer maps have 0.3); of fewer pictures it means nothing


@dataclass
class Settings:
    """What to explain, and with which model."""

    paths: tyro.conf.Positional[tuple[str, ...]]
    """folders (with all below them), zips (read in place), files, patterns such as "*.jpg", or - for a list"""
    model: Path | None = None
    """run folder of the model, such as models/full; without it the newest one in models"""
    output: Path = Path("explanations")
    """the folder for the PNGs; made when it is not there"""
    tasks: tuple[str, ...] = ()
    """which heads to explain: painter,genre; without it all"""
    classes: dict[str, str] = field(default_factory=dict)
    """explain these classes, whether they are the likeliest or not: painter="Claude Monet" genre=portrait"""
    layer: Literal["last", "finer"] = "last"
    """the feature map to explain: the last one, as in the paper, or the last one with more cells (HiResCAM), for
    networks that gather at a border of the last map what they saw elsewhere"""
    size: int = 0
    """side in pixels at which the network looks at the picture; 0: the one it was trained for. The map has a cell for
    about every 32 pixels (7 x 7 at 224), so a larger side gives a finer one. It costs time and memory with its square,
    and far from the side of the training the labels are less sure and may differ from those of predict"""
    batch_size: int = 8
    """pictures that go through the network at once"""
    threads: int = 0
    """how many pictures are decoded at once; 0: as many as there are cores"""


def explain(settings: Settings) -> int:
    """The verb. Returns 0 when every picture was read, 1 when some were not."""
    from painters_mtl.images.cache import cache_side
    from painters_mtl.images.inputs import images_from_arguments
    from painters_mtl.runs.run import open_run_for_pictures

    if not settings.paths:
        raise UserError("nothing to explain: name folders, zips or files")
    command_line.check_numbers(settings, batch_size=1, threads=0)
    if settings.size and not 32 <= settings.size <= LARGEST:
        raise UserError(f"--size {settings.size} must be from 32 to {LARGEST}, or 0 for the size of the training")
    if settings.output.exists() and not settings.output.is_dir():
        raise UserError(f"--output {settings.output} is a file: name a folder")
    run = open_run_for_pictures(settings.model)
    tasks = wanted_tasks(run, settings.tasks)
    classes = wanted_classes(tasks, settings.classes)
    if settings.size not in (0, run.image_size):
        print(f"looking at {settings.size} pixels, not the {run.image_size} of the training: labels may differ")
        run = dataclasses.replace(run, image_size=settings.size, copy_side=cache_side(settings.size))
    # A folder that holds the output too must not have its explanations explained the next time.
    ours = settings.output.resolve()
    files = [f for f in images_from_arguments(settings.paths) if not (f.name.endswith(ENDING) and _inside(f, ours))]
    if not files:
        raise UserError(f"there is no picture in {', '.join(settings.paths)}")
    settings.output.mkdir(parents=True, exist_ok=True)
    print(f"explaining {len(files):,} pictures with {run.folder}", flush=True)
    lazy_imports.import_tensorflow()
    refused, alike = _write_all(run, tasks, classes, files, settings)
    print(f"wrote {len(files) - refused:,} pictures to {settings.output}")
    if len(files) - refused >= ENOUGH and alike > ALIKE:
        hint = "; --layer finer shows where it looked before" if settings.layer == "last" else ""
        print(
            f"note: the maps of different pictures are much alike (cosine {alike:.2f}): the network gathers at one "
            f"place of this layer what it saw elsewhere{hint}"
        )
    if refused:
        print(f"{refused:,} pictures could not be read", file=sys.stderr)
    return 1 if refused else 0


def wanted_tasks(run: "Run", names: Sequence[str]) -> "dict[str, Task]":
    """The heads to explain, in the order of the run; all when none is named."""
    asked = [name for word in names for name in word.split(",") if name]
    for name in asked:
        if name not in run.tasks:
            raise UserError(f"--tasks {name}: {run.folder} has no such head, but {', '.join(run.tasks)}")
    return {name: task for name, task in run.tasks.items() if name in asked or not asked}


def wanted_classes(tasks: "Mapping[str, Task]", wanted: Mapping[str, str]) -> dict[str, int]:
    """The classes asked for, by number: {task: class}. Upper and lower case do not matter."""
    found = {}
    for name, label in wanted.items():
        if name not in tasks:
            raise UserError(f"--classes {name}={label}: {name} is not among the explained heads ({', '.join(tasks)})")
        known = [c.casefold() for c in tasks[name].classes]
        if label.casefold() not in known:
            raise UserError(
                f"--classes {name}={label}: {name} knows no such class, but {', '.join(tasks[name].classes)}"
            )
        found[name] = known.index(label.casefold())
    return found


def _write_all(
    run: "Run", tasks: "Mapping[str, Task]", classes: Mapping[str, int], files: "list[ImageFile]", settings: Settings
) -> tuple[int, float]:
    """A PNG for every picture that can be read; returns how many could not, and how alike the maps are."""
    import numpy as np
    from tqdm import tqdm

    from painters_mtl.common.files import atomic_write
    from painters_mtl.images import files as images
    from painters_mtl.images.stream import stream_images
    from painters_mtl.network.gradcam import TOP, explainer, likeness

    try:
        look = explainer(run.model(), run.image_size, list(tasks), settings.layer)
    except ValueError as problem:
        raise UserError(f"--layer {settings.layer}: {problem}") from problem

    def forward(copies: np.ndarray) -> dict[str, np.ndarray]:
        wanted = {name: np.full(len(copies), classes.get(name, TOP), np.int32) for name in tasks}
        found = look(copies, wanted)
        seen = {f"{name} {key}": value.numpy() for name, values in found.items() for key, value in values.items()}
        return seen | ({"copies": copies} if len(run.views) > 1 else {})

    refused = 0
    maps: dict[str, list[np.ndarray]] = {name: [] for name in tasks}
    names = output_names(files)
    stream = stream_images(files, run, forward, settings.batch_size, settings.threads)
    progress = tqdm(zip(stream, names, strict=True), total=len(files), unit=" pictures", mininterval=0.5)
    for seen, name in progress:
        error = seen.error
        if not error:
            try:  # a second time, for the network's copy is too small to be looked at
                picture = images.load_image(seen.file, longest=2 * SIDE)
            except Unreadable as gone:
                error = f"{gone.reason} ({gone.detail})"
        if error:
            refused += 1
            tqdm.write(f"{display_path(str(seen.file))} cannot be read: {error}", file=sys.stderr)
            continue
        assert seen.outputs is not None
        for task in tasks:
            maps[task].append(seen.outputs[f"{task} map"])
        drawn = figure(rows_of(run, tasks, seen, picture.pixels), display_path(seen.file.name), METHODS[settings.layer])
        with atomic_write(settings.output / name) as temporary, warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph")  # a name in a script that the font lacks
            drawn.savefig(temporary, metadata={"Software": None}, pil_kwargs={"compress_level": 3})
    return refused, float(np.mean([likeness(np.stack(of)) for of in maps.values() if of] or [np.nan]))


def output_names(files: "Sequence[ImageFile]") -> list[str]:
    """A file name for each picture's explanation, none twice: the second `monet.jpg` becomes `monet-2-explained.png`.

    Whatever some file system refuses in a name becomes "_".
    """
    taken: set[str] = set()
    names = []
    for file in files:
        stem = re.sub(r"[^\w ,()+-]+", "_", Path(file.name).stem)[:60].strip() or "picture"
        name, k = stem, 1
        while name.casefold() in taken:  # on some file systems A.png is a.png
            k += 1
            name = f"{stem}-{k}"
        taken.add(name.casefold())
        names.append(name + ENDING)
    return names


def _inside(file: "ImageFile", folder: Path) -> bool:
    return folder in Path(file.path).resolve().parents


@dataclass(frozen=True)
class Panel:
    """One map of a figure."""

    title: str  # its first line is the task's name
    heat: "np.ndarray | None"  # float (h, w) in 0 to 1; None: the head does not see this picture


def rows_of(
    run: "Run", tasks: "Mapping[str, Task]", seen: "ImageOutput", pixels: "np.ndarray"
) -> "list[tuple[np.ndarray, list[Panel]]]":
    """A row for each view of one painting: the picture, uint8 (h, w, 3), and the panel of each task, for `figure`."""
    import numpy as np

    from painters_mtl.data.tasks import UNKNOWN, known_output
    from painters_mtl.evaluation.calibration import apply_temperature
    from painters_mtl.evaluation.open_set import known_score
    from painters_mtl.network.forward import center_crops
    from painters_mtl.network.gradcam import scaled

    assert seen.outputs is not None
    seen_as = [pixels]
    if len(run.views) > 1:
        detail = center_crops(seen.outputs["copies"][None, 1], run.image_size).numpy()[0]
        seen_as.append(np.rint(detail).astype(np.uint8))
    rows: list[tuple[np.ndarray, list[Panel]]] = [(view, []) for view in seen_as]
    for name, task in tasks.items():
        chosen = int(seen.outputs[f"{name} class"])
        likely = apply_temperature(seen.outputs[f"{name} probabilities"][None], run.temperatures[name])[0]
        title = f"{name}\n{task.classes[chosen]}  {100 * likely[chosen]:.1f} %"
        best = int(likely.argmax())
        if best != chosen:
            title += f"\nlikeliest: {task.classes[best]}  {100 * likely[best]:.1f} %"
        known_head = seen.outputs.get(f"{known_output(name)} probabilities")
        if name == "painter" and run.unknown(name, known_score(likely, known_head)):
            title += f"\npredict says: {UNKNOWN}"
        heats = scaled(seen.outputs[f"{name} map"][None])[0]
        sees = seen.outputs[f"{name} sees"]
        for k, (_, panels) in enumerate(rows):
            # A head in which nothing moves at all is shown its whole picture, with an empty map.
            panels.append(Panel(title, heats[k] if sees[k] or (k == 0 and not sees.any()) else None))
    return rows


SIDE, DPI = 380, 100  # of a square panel, in pixels of the PNG; others have the same area
LONGEST = 1.8 * SIDE  # of any panel
GAP, LINE, FOOT = 22, 18, 30
INK, GREY = "#1a1a1a", "#6a6a6a"
METHODS = {"last": "Grad-CAM", "finer": "HiResCAM"}


def figure(rows: "Sequence[tuple[np.ndarray, Sequence[Panel]]]", name: str = "", method: str = "Grad-CAM") -> Any:
    """The picture and its maps, side by side: a matplotlib figure, which a notebook shows.

    Args:
        rows: each a picture, uint8 (h, w, 3), in its own aspect, and its maps; a map is stretched over the picture. A
            network with one view needs one row, one with two has the detail in the second.
        name: of the picture, written above it.
        method: what made the maps, for the line below.

    >>> figure([(pixels, [Panel("painter\\nClaude Monet  71.0 %", heat)])], "lilies.jpg").savefig("lilies.png")
    """
    import numpy as np
    from matplotlib.figure import Figure
    from PIL import Image

    from painters_mtl.network.gradcam import overlay, stretched

    sizes = [_panel_size(*picture.shape[1::-1]) for picture, _ in rows]
    column = max(SIDE * 3 // 4, *(width for width, _ in sizes))  # room for a title
    titles = []
    for k, (_, panels) in enumerate(rows):
        first = [_short(name)] if k == 0 else ["detail", "the middle, pixel for pixel"]
        texts = [first, *(panel.title.split("\n") for panel in panels)]
        titles.append([[t[0], *(w for text in t[1:] for w in textwrap.wrap(text, column // 9))] for t in texts])
    heads = [LINE * max(map(len, row)) + GAP for row in titles]
    columns = max(map(len, titles))
    total = GAP + columns * (column + GAP), sum(heads) + sum(height for _, height in sizes) + FOOT
    drawn = Figure(figsize=(total[0] / DPI, total[1] / DPI), dpi=DPI, facecolor="white")

    def write(x: float, y: float, text: str, **style: Any) -> None:
        drawn.text(x / total[0], 1 - y / total[1], text, parse_math=False, va="bottom", **style)

    def show(x: float, y: float, pixels: np.ndarray) -> None:
        height, width = pixels.shape[:2]
        axis = drawn.add_axes((x / total[0], 1 - (y + height) / total[1], width / total[0], height / total[1]))
        axis.set_axis_off()
        axis.imshow(pixels, aspect="auto", interpolation="none")

    top = 0
    for (picture, panels), (width, height), head, texts in zip(rows, sizes, heads, titles, strict=True):
        top += head
        pixels = np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS))
        for c, lines in enumerate(texts):
            x = GAP + c * (column + GAP)
            for n, line in enumerate(reversed(lines)):
                small = n == len(lines) - 1  # the first: a task's name, or the picture's
                write(x, top - 6 - LINE * n, line, color=GREY if small else INK, fontsize=9.5 if small else 11)
            heat = panels[c - 1].heat if c else None
            if c == 0:
                show(x, top, pixels)
            elif heat is None:
                write(x, top + LINE, "this head does not see this view", color=GREY, fontsize=9.5)
            else:
                show(x, top, overlay(pixels, stretched(heat, width, height)))
                if not heat.any():
                    write(x + 8, top + 8 + LINE, "nothing here speaks for it", color="white", fontsize=9.5)
        top += height
    cells = next((panel.heat.shape for _, panels in rows for panel in panels if panel.heat is not None), None)
    if cells is not None:
        note = f"{method}: bright speaks for the class; each to its own scale; {cells[1]} x {cells[0]} cells"
        write(GAP, total[1] - 6, note, color=GREY, fontsize=8.5)
    return drawn


def _panel_size(width: int, height: int) -> tuple[int, int]:
    """Pixels of a panel: the picture's aspect and the area of SIDE x SIDE, as far as LONGEST allows."""
    factor = min(SIDE / (width * height) ** 0.5, LONGEST / max(width, height))
    return max(1, round(factor * width)), max(1, round(factor * height))


def _short(name: str, longest: int = 40) -> str:
    return name if len(name) <= longest else f"{name[: longest // 2]}…{name[-longest // 2 + 1 :]}"


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    return command_line.run_command(Settings, explain, argv, "painters-mtl explain", __doc__)


if __name__ == "__main__":
    sys.exit(main())
