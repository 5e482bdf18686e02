"""Values to the HTML that the page shows: templates with escaping, pictures as data URLs."""

import base64
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np

from painters_mtl.data.tasks import UNKNOWN, plural
from painters_mtl.images.files import ImageFile
from painters_mtl.page.answers import labels, percent
from painters_mtl.page.collection import thumbnail_url
from painters_mtl.reports.html import picture_url

if TYPE_CHECKING:
    from painters_mtl.page.folder import Progress
    from painters_mtl.page.model import LabelledPainting
    from painters_mtl.runs.run import Run


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("painters_mtl.page"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"percent": percent, "plural": plural, "share": lambda value: f"{100 * value:.1f}\u00a0%"}
    return environment


def _render(template: str, **values: Any) -> str:
    return _environment().get_template(f"{template}.html.jinja").render(**values)


def problem(sentence: str) -> str:
    """What went wrong, and what to do, in a box that screen readers read at once."""
    return f'<p class="problem" role="alert">{jinja2.filters.escape(sentence)}</p>'


def hint(sentence: str) -> str:
    """What a part of the page that is empty is for."""
    return f'<p class="hint">{jinja2.filters.escape(sentence)}</p>'


def waiting(sentence: str) -> str:
    """What a part of the page waits for, which screen readers say when they have finished speaking."""
    return f'<p class="hint" role="status">{jinja2.filters.escape(sentence)}</p>'


def examples(files: Sequence[Path]) -> str:
    """Buttons with a small picture and a name each: `02-cubism-landscape.jpg` is called "Cubism landscape"."""
    named = [(" ".join(file.stem.split("-")[1:]).capitalize(), thumbnail_url(ImageFile(str(file)))) for file in files]
    return _render("examples", examples=named)


def answers(run: "Run", painting: "LabelledPainting") -> str:
    """The answers of all tasks for a painting, with bars."""
    return _render("answers", painting=painting, answers=labels(run, painting.prediction))


def json_text(values: Mapping[str, Any]) -> str:
    """Values as JSON to read and to copy."""
    return _render("json", values=json.dumps(values, indent=2, ensure_ascii=False))


def before_after(
    painting: "LabelledPainting", overlaid: np.ndarray, heat: np.ndarray, label: str, note: str = ""
) -> str:
    """The painting and its map over each other, with a slider between them.

    Args:
        overlaid: the painting under its map, uint8 (h, w, 3).
        heat: the map itself, (cells down, cells across).
        label: that it explains.
        note: what has to be known of the map.
    """
    return _render(
        "wipe",
        name=painting.name,
        painting="data:image/jpeg;base64," + base64.b64encode(painting.shown).decode(),
        map=picture_url(overlaid),
        width=overlaid.shape[1],
        height=overlaid.shape[0],
        label=label,
        note=note,
        empty=not heat.any(),
        cells=f"{heat.shape[1]} x {heat.shape[0]}",
    )


def nearest(works: list[dict[str, Any]], state: str) -> str:
    """The works of a collection that are most like a painting; the sentence alone where there is none."""
    shown = [work | {"thumbnail": thumbnail_url(work["file"])} for work in works]
    return _render("nearest", works=shown, state=state)


def folder(progress: "Progress", tasks: list[str]) -> str:
    """How far a folder is, what could not be read, and the first rows as a table and a gallery."""
    return _render("folder", progress=progress, tasks=tasks, unknown=UNKNOWN)


def compared(columns: Mapping[str, dict[str, Any]]) -> str:
    """The answers of two models side by side, and in one sentence where they differ."""
    first, second = columns.values()
    shared = [task for task in first if task in second]
    different = [task for task in shared if first[task]["answer"] != second[task]["answer"]]
    if not shared:
        sentence = "The two have no task in common."
    elif not different:
        sentence = "Both give the same answers."
    else:
        sentence = f"They differ in {' and '.join(different)}."
    return _render("compare", columns=columns, sentence=sentence)


def run_card(card: dict[str, Any]) -> str:
    """What a model is, how good, and what it is not for."""
    return _render("run", card=card)


def report_frame(page: str) -> str:
    """A report in a frame of its own, which runs no scripts and reaches nothing outside."""
    return (
        f'<iframe class="report" title="report of the training" sandbox="" srcdoc="{jinja2.filters.escape(page)}">'
        "</iframe>"
    )
