"""Show what in a painting speaks for its labels: the painting beside a map for each head.

    painters-mtl explain a.jpg b.png --model models/full
    painters-mtl explain FOLDER paintings.zip --tasks painter --size 320 --output maps
    painters-mtl explain a.jpg --classes painter="Claude Monet" genre=landscape --method occlusion

For every picture a PNG, NAME-explained.png, in --output: the original and, for each task, the class, its confidence
and a map over the picture: bright where the painting speaks for that class and against the others, dark where it does
not. Each map is checked: a fifth of the picture is covered, the bright cells, and then as many cells elsewhere, 19
times. Where the bright ones change the answer no more than others, the sheet says so under the map. When the maps of
different pictures are all alike, they tell of the network and not of the pictures: a note says so.

Exit status: 0 all read, 1 some pictures were not, 2 misuse.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from painters_mtl.common import command_line
from painters_mtl.common.errors import Unreadable, UserError, display_path
from painters_mtl.common.messages import counted, say

if TYPE_CHECKING:
    import numpy as np

    from painters_mtl.data.tasks import Task
    from painters_mtl.images.files import ImageFile
    from painters_mtl.images.stream import Forward
    from painters_mtl.runs.run import Run

LARGEST = 2048  # of --size
ALIKE = 0.8  # maps are alike above this `mean_cosine`; finer maps have 0.3
ENOUGH = 8  # of fewer pictures it means nothing
METHODS = {
    "finer": "HiResCAM",
    "levels": "CAM over levels",
    "layercam": "LayerCAM",
    "last": "Grad-CAM",
    "occlusion": "occlusion",
    "rise": "RISE",
}


@dataclass
class Settings:
    """What to explain, and with which model."""

    paths: tyro.conf.Positional[tuple[str, ...]]
    """folders (with all below them), zips (read in place), files, patterns such as "*.jpg", or - for a list"""
    model: Path | None = None
    """run folder of the model, such as models/full, or paintings: the bundled model; without it the newest run
    of real paintings in models, else the bundled model"""
    output: Path = Path("explanations")
    """the folder for the PNGs; made when it is not there"""
    tasks: tuple[str, ...] = ()
    """which heads to explain: painter,genre; without it all"""
    classes: dict[str, str] = field(default_factory=dict)
    """explain these classes, whether they are the likeliest or not: painter="Claude Monet" genre=portrait"""
    method: Annotated[
        Literal["finer", "levels", "layercam", "last", "occlusion", "rise"], tyro.conf.arg(aliases=("--layer",))
    ] = "rise"
    """rise and occlusion cover parts of the picture and look what the answer does: the most faithful, some seconds a
    picture. The others look inside the network, at once: finer: HiResCAM, on a map of 12 x 12 cells or more; layercam:
    the same with positive gradients only; levels: what each cell of the maps that the heads read adds to the answer;
    last: Grad-CAM on the last map"""
    size: int = 0
    """side in pixels at which the network looks at the picture; 0: the one it was trained for. It costs time and
    memory with its square, and far from the side of the training the labels are less sure and may differ from those of
    predict"""
    batch_size: int = 8
    """pictures that go through the network at once"""
    threads: int = 0
    """how many pictures are decoded at once; 0: as many as there are cores"""


def explain(settings: Settings) -> int:
    """The verb. Returns 0 when every picture was read, 1 when some were not."""
    from painters_mtl.data.tasks import chosen_tasks
    from painters_mtl.images.cache import cache_side
    from painters_mtl.images.files import images_from_arguments
    from painters_mtl.images.names import EXPLAINED
    from painters_mtl.runs.model_choice import open_run_for_pictures

    _check(settings)
    run = open_run_for_pictures(settings.model)
    tasks = chosen_tasks(run.tasks, settings.tasks, "--tasks")
    classes = class_numbers(tasks, settings.classes)
    if settings.size not in (0, run.image_size):
        here, there = (f"{side} x {side}" for side in (settings.size, run.image_size))
        say(f"looking at {here} pixels, not {there} as in training: labels may differ")
        run = replace(run, image_size=settings.size, cache_side=cache_side(settings.size))
    # A folder that holds the output too must not have its explanations explained the next time.
    output = settings.output.resolve()
    files = [
        file
        for file in images_from_arguments(settings.paths)
        if not (file.name.endswith(EXPLAINED) and output in Path(file.path).resolve().parents)
    ]
    if not files:
        raise UserError(f"there is no picture in {', '.join(settings.paths)}")
    settings.output.mkdir(parents=True, exist_ok=True)
    replaced = sum((settings.output / name).exists() for name in output_names(files))
    say(f"explaining {counted(len(files), 'picture')} with {run.title}")
    unreadable, mean_cosine = _write_sheets(run, tasks, classes, files, settings)
    explained = len(files) - unreadable
    there = f" ({replaced:,} of an earlier call had the same name and {'was' if replaced == 1 else 'were'} replaced)"
    print(f"wrote {counted(explained, 'picture')} to {settings.output}{there if replaced else ''}")
    if explained >= ENOUGH and mean_cosine > ALIKE:
        from painters_mtl.network.covering import BY_COVERING  # imported by now, with TensorFlow

        why = "the network gathers at one place of this layer what it saw elsewhere"
        if settings.method == "last":
            why += "; --method finer shows where it looked before"
        if settings.method in BY_COVERING:  # they know no layer
            why = "they say more of the network than of each picture"
        print(f"note: the maps of different pictures are much alike (cosine {mean_cosine:.2f}): {why}")
    if unreadable:
        print(f"{counted(unreadable, 'picture')} could not be read", file=sys.stderr)
    return 1 if unreadable else 0


def _check(settings: Settings) -> None:
    if not settings.paths:
        raise UserError("nothing to explain: name folders, zips or files")
    command_line.check_numbers(settings, batch_size=1, threads=0)
    if settings.size and not 32 <= settings.size <= LARGEST:
        raise UserError(f"--size {settings.size} must be from 32 to {LARGEST}, or 0 for the size of the training")
    if settings.output.exists() and not settings.output.is_dir():
        raise UserError(f"--output {settings.output} is a file: name a folder")


def class_numbers(tasks: "Mapping[str, Task]", classes: Mapping[str, str]) -> dict[str, int]:
    """The classes that --classes names, by number: {task: class}. Upper and lower case do not matter."""
    numbers = {}
    for task, name in classes.items():
        if task not in tasks:
            raise UserError(f"--classes {task}={name}: {task} is not among the explained heads ({', '.join(tasks)})")
        all_names = [each.casefold() for each in tasks[task].classes]
        if name.casefold() not in all_names:
            raise UserError(f"--classes {task}={name}: {task} has no such class, but {', '.join(tasks[task].classes)}")
        numbers[task] = all_names.index(name.casefold())
    return numbers


def _write_sheets(
    run: "Run", tasks: "Mapping[str, Task]", classes: Mapping[str, int], files: "list[ImageFile]", settings: Settings
) -> tuple[int, float]:
    """A PNG for every picture that can be read; returns how many could not, and how alike the maps are."""
    import numpy as np

    from painters_mtl.common.files import atomic_write
    from painters_mtl.common.interrupts import stop_if_requested
    from painters_mtl.common.lazy_imports import import_tensorflow
    from painters_mtl.common.messages import ProgressBar
    from painters_mtl.images.files import load_image
    from painters_mtl.images.stream import stream_images
    from painters_mtl.reports.sheets_explanation import SIDE, panel_rows, write_explanation_sheet

    import_tensorflow()
    from painters_mtl.evaluation.heatmaps import mean_cosine, normalized

    unreadable = 0
    maps: dict[str, list[np.ndarray]] = {name: [] for name in tasks}
    forward = _explaining(run, tasks, classes, settings.method, settings.size)
    outputs = stream_images(files, forward, run.cache_side, run.views, settings.batch_size, settings.threads)
    progress = ProgressBar(outputs, total=len(files), unit=" pictures")
    for output, name in zip(progress, output_names(files), strict=True):
        stop_if_requested()
        error = output.error
        if not error:
            try:  # a second time, for the network's cached image is too small to be looked at
                pixels = load_image(output.file, longest=2 * SIDE).pixels
            except Unreadable as reason:
                error = reason.in_words
        if error:
            unreadable += 1
            ProgressBar.write(f"{display_path(str(output.file))} cannot be read: {error}", file=sys.stderr)
            continue
        assert output.outputs is not None
        for task in tasks:
            maps[task].append(normalized(output.outputs[f"{task} map"][None])[0])
        rows = panel_rows(run, tasks, output, pixels)
        with atomic_write(settings.output / name) as temporary:
            write_explanation_sheet(temporary, rows, display_path(output.file.name), METHODS[settings.method])
    alike = np.array([mean_cosine(np.stack(of)) for of in maps.values() if of])
    alike = alike[~np.isnan(alike)]  # of a task whose maps are empty nothing is known
    return unreadable, float(alike.mean()) if len(alike) else float("nan")


def _explaining(
    run: "Run", tasks: "Mapping[str, Task]", classes: Mapping[str, int], method: str, size: int = 0
) -> "Forward":
    """A function from cached images to the maps of each task and what `panel_rows` needs beside them.

    Args:
        size: side of the pictures where it is not that of the training. Raises `UserError` where it is too small.
    """
    import numpy as np

    from painters_mtl.inference.open_network import open_network
    from painters_mtl.network.backbones import least_side
    from painters_mtl.network.covering import BY_COVERING, maps_exceed_controls, masked_predictor
    from painters_mtl.network.gradcam import TOP, explainer
    from painters_mtl.network.multitask import backbone_of

    network = open_network(run)
    if size and size < (least := least_side(backbone_of(network), LARGEST)):
        raise UserError(f"--size {size}: of so small a picture nothing comes through this network; at least {least}")
    try:
        explained = explainer(network, run.image_size, list(tasks), "finer" if method in BY_COVERING else method)
    except ValueError as error:
        raise UserError(f"--method {method}: {error}") from error
    predict_masked = masked_predictor(network, run.image_size, list(tasks))

    def forward(images: "np.ndarray") -> "dict[str, np.ndarray]":
        numbers = {name: np.full(len(images), classes.get(name, TOP), np.int32) for name in tasks}
        outputs: dict[str, Any] = explained(images, numbers)
        named = {f"{name} {key}": value.numpy() for name, values in outputs.items() for key, value in values.items()}
        checks = []
        for k, image in enumerate(images):
            chosen = {name: int(named[f"{name} class"][k]) for name in tasks}
            if method in BY_COVERING:
                covered = BY_COVERING[method](predict_masked, image, chosen, views=len(run.views))
                for name in tasks:
                    maps = named.setdefault(
                        f"{name} {method}", np.zeros((len(images), *covered[name].shape), np.float32)
                    )
                    # RISE gives noise, not 0, for a view that the head does not see
                    maps[k] = covered[name] * named[f"{name} sees"][k][:, None, None]
            shown = {name: named.get(f"{name} {method}", named[f"{name} map"])[k] for name in tasks}
            checks.append(maps_exceed_controls(predict_masked, image, chosen, shown))
        for name in tasks:
            named[f"{name} map"] = named.pop(f"{name} {method}", named[f"{name} map"])
            named[f"{name} stands out"] = np.array([check[name] for check in checks])
        return named | ({"cached image": images} if len(run.views) > 1 else {})

    return forward


def output_names(files: "Sequence[ImageFile]") -> list[str]:
    """A file name for each picture's explanation, none twice: the second `monet.jpg` becomes `monet-2-explained.png`.

    Whatever some file system refuses in a name becomes "_".
    """
    from painters_mtl.images.names import EXPLAINED

    taken: set[str] = set()
    names = []
    for file in files:
        stem = re.sub(r"[^\w ,()+-]+", "_", Path(file.name).stem)[:60].strip() or "picture"
        name, k = stem, 1
        while name.casefold() in taken:  # on some file systems A.png is a.png
            k += 1
            name = f"{stem}-{k}"
        taken.add(name.casefold())
        names.append(name + EXPLAINED)
    return names


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    return command_line.run_command(Settings, explain, argv, "painters-mtl explain", __doc__)


if __name__ == "__main__":
    sys.exit(main())
