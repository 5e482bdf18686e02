"""Which model answers: what --model names, else the newest run of real paintings, else the bundled model.

A run on the demo knows eight invented painters: it answers where it is named, and nowhere else.
"""

from dataclasses import replace
from pathlib import Path

from painters_mtl.common.errors import UserError
from painters_mtl.common.files import read_if_sound
from painters_mtl.common.messages import warn
from painters_mtl.runs.packaged import is_packaged
from painters_mtl.runs.run import LABELS, METRICS, MODEL, Run, open_run

PAINTINGS = Path("paintings")  # the word behind --model that names the bundled model
MODELS = Path("models")
PACKAGE = Path(__file__).resolve().parents[1]
PLACES = (PACKAGE / "_paintings", PACKAGE.parent / MODELS / PAINTINGS)  # of a wheel; of a checkout


def open_run_for_pictures(folder: Path | None, models: Path = MODELS) -> Run:
    """The model that says something of a user's pictures; its `title` says which it is, and why where none was named.

    Args:
        folder: what --model names: a run folder, a packaged model, or the word paintings; None: nothing.
        models: where runs are looked for in that case.

    A run is finished when its metrics are there. Raises `UserError` that names what is missing, or not as it was
    written: vectors in the cache would answer even where the model is damaged.
    """
    run = _chosen(models) if folder is None else open_named_run(folder)
    run.check()
    if run.demo:
        warn(
            f"note: {run.folder} was trained on the demo, paintings drawn by code: what it says of real ones means "
            "nothing"
        )
    return run


def open_named_run(folder: Path, option: str = "--model") -> Run:
    """As `run.open_run`, but the word paintings stands for the bundled model.

    A run folder of that name goes before it; a folder of pictures, which many have under that name, does not.
    """
    if folder != PAINTINGS or (folder / LABELS).is_file():
        return open_run(folder, option)
    if (bundled := bundled_model()) is None:
        raise UserError(
            f"{option} {folder}: no model is bundled with this copy of painters-mtl, and no folder is called so"
        )
    return _with_title(open_run(bundled), "the bundled model")


def bundled_model(places: tuple[Path, ...] = PLACES) -> Path | None:
    """The folder of the bundled model; None where there is none."""
    return next((place for place in places if is_packaged(place)), None)


def _chosen(models: Path) -> Run:
    runs = finished_runs(models)
    if of_paintings := [folder for folder in runs if not _of_demo(folder)]:
        return _with_title(open_run(of_paintings[0]), f"{of_paintings[0]}, the newest run of real paintings")
    if (bundled := bundled_model()) is not None:
        return _with_title(open_run(bundled), "the bundled model")
    but = f" ({runs[0]} knows the demo only, paintings drawn by code: --model {runs[0]} takes it)" if runs else ""
    raise UserError(
        f"there is no model of real paintings in {models}{but}, and none is bundled with this copy: train one with "
        "painters-mtl train --data FOLDER, or name one with --model"
    )


def finished_runs(models: Path) -> list[Path]:
    """The folders of the finished runs in a folder, the newest first; one that was interrupted is none of them."""
    folders = [file.parent for file in models.glob(f"*/{MODEL}") if not file.parent.name.startswith(".")]
    finished = [
        folder
        for folder in folders
        if (folder / LABELS).is_file()
        and (folder / METRICS).is_file()
        and not read_if_sound(folder / METRICS).get("interrupted")
    ]
    return sorted(finished, key=lambda folder: ((folder / MODEL).stat().st_mtime_ns, folder.name), reverse=True)


def _of_demo(folder: Path) -> bool:
    """Whether a run was trained on the demo; one whose labels are damaged is not passed over, but named when opened."""
    return bool(read_if_sound(folder / LABELS).get("demo"))


def _with_title(run: Run, title: str) -> Run:
    return replace(run, title=title)
