"""The HTTP interface of the page: named addresses that stay, described in docs/guides/app.md."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial, wraps
from typing import Any, ParamSpec

import gradio as gr
from gradio.data_classes import FileData

from painters_mtl.common.errors import Unreadable, UserError
from painters_mtl.images.files import ImageFile
from painters_mtl.page.folder import label_pictures, pictures_in
from painters_mtl.page.guard import FOLDER
from painters_mtl.page.limits import AT_ONCE, NEAREST
from painters_mtl.page.questions import Questions, sentence
from painters_mtl.reports.html import picture_url

LIMIT = {"concurrency_id": "network", "concurrency_limit": AT_ONCE}
P = ParamSpec("P")


def add_interface(questions: Questions) -> None:
    """Add `/label`, `/explain`, `/nearest`, `/compare`, `/label_folder` and `/model`, within a `gr.Blocks`.

    What cannot be answered is answered with {"error": why}.
    """

    @_answering
    def label(painting: FileData) -> dict[str, Any]:
        """Painter, style and genre of a painting, each with its five likeliest classes."""
        return questions.values(questions.look(painting))

    @_answering
    def explain(painting: FileData, label: str = "painter/") -> dict[str, Any]:
        """What speaks for a label, such as "painter/Claude Monet"; without a class the likeliest: a picture."""
        explanation = questions.explain(questions.look(painting), label)
        return {
            "label": explanation.label,
            "map": explanation.heat.round(4).tolist(),
            "picture": picture_url(explanation.overlaid),
            "note": explanation.note,
        }

    @_answering
    def nearest(painting: FileData, count: int = NEAREST) -> dict[str, Any]:
        """The works of the collection that are most like a painting."""
        works, state = questions.nearest(questions.look(painting), max(1, min(int(count), 100)))
        shown = [{key: value for key, value in work.items() if key != "file"} for work in works]
        return {"works": shown, "collection": state}

    @_answering
    def compare(painting: FileData, first: str, second: str) -> dict[str, Any]:
        """What two models say of a painting; their names are in the answer of /model."""
        return questions.compare(painting, first, second)

    @_answering
    def label_folder(files: list[FileData]) -> dict[str, Any]:
        """Labels of many pictures or of zips: a row each, with the columns of `predict`."""
        return {"rows": list(_rows(questions, [questions.uploads.file(file) for file in files]))}

    def model() -> dict[str, Any]:
        """The model in use, its classes and how well it did, and the names of all that can be compared."""
        return {**questions.card_of_model(), "models": questions.comparable_models.names()}

    for function in (label, explain, nearest, compare):
        gr.api(function, api_name=function.__name__, **LIMIT)  # type: ignore[arg-type]
    gr.api(label_folder, api_name=FOLDER, concurrency_id="folder", concurrency_limit=1)
    gr.api(model, api_name="model")


def _rows(questions: Questions, uploads: Sequence[ImageFile]) -> Iterator[dict[str, Any]]:
    """The rows of a folder; those that are not shown on a page come from the table."""
    file, keep = questions.uploads.folder_for(None) / "labels.jsonl", partial(questions.uploads.keep, uploads)
    for _ in label_pictures(questions.model, pictures_in(uploads), file, threading.Event(), in_use=keep):
        pass
    with file.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _answering(function: Callable[P, dict[str, Any]]) -> Callable[P, dict[str, Any]]:
    """The same function, which answers {"error": why} where it cannot."""

    @wraps(function)  # gradio reads the signature, the types and the docstring
    def answering(*values: P.args, **named: P.kwargs) -> dict[str, Any]:
        try:
            return function(*values, **named)
        except (Unreadable, UserError) as error:
            return {"error": sentence(error)}

    return answering
