"""What can be asked of the page, without gradio: the same functions stand behind its buttons and its HTTP interface."""

from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from painters_mtl.common.errors import Unreadable, UserError
from painters_mtl.common.figure_style import shortened
from painters_mtl.page.answers import labels, painting_values
from painters_mtl.page.limits import NEAREST
from painters_mtl.page.model_card import model_card
from painters_mtl.page.share_image import write_share_image

if TYPE_CHECKING:
    from painters_mtl.page.collection import Collection
    from painters_mtl.page.comparable_models import ComparableModels
    from painters_mtl.page.model import LabelledPainting, PageModel
    from painters_mtl.page.uploads import Uploads

RECENT = 8  # explanations that are kept
NO_COLLECTION = (
    "No collection was given. Start the page with --collection FOLDER, and it shows the works of that folder that are "
    "most like this painting."
)


@dataclass(frozen=True)
class Explanation:
    """What speaks for a label of a painting."""

    label: str  # "painter: Claude Monet"
    heat: np.ndarray  # float32 (h, w) in 0 to 1
    overlaid: np.ndarray  # the painting under it, uint8
    note: str = ""  # what has to be known of the map: it may prove nothing


@dataclass(frozen=True)
class Questions:
    """The models, the uploads and the collection of a page, and what can be asked of them."""

    comparable_models: "ComparableModels"
    uploads: "Uploads"
    collection: "Collection | None" = None
    _explained: "deque[tuple[LabelledPainting, str, Explanation]]" = field(
        default_factory=lambda: deque(maxlen=RECENT), init=False
    )

    @property
    def model(self) -> "PageModel":
        """The model in use."""
        return self.comparable_models.main

    def look(self, given: Any, session: str | None = None) -> "LabelledPainting":
        """An uploaded painting through the network. Raises `Unreadable`."""
        return self.model.look(self.uploads.file(given, session))

    def values(self, painting: "LabelledPainting") -> dict[str, Any]:
        """What is said of it, for JSON."""
        return painting_values(self.model.run, self.model.name, painting)

    def explain(self, painting: "LabelledPainting", chosen: str) -> Explanation:
        """What speaks for the label "task/class" of a painting. Raises `UserError` for one that the model lacks.

        The last ones are kept, for the picture to send asks for what the page has just shown.
        """
        for of, label, explanation in tuple(self._explained):
            if of is painting and label == chosen:
                return explanation
        explanation = self._explain(painting, chosen)
        self._explained.append((painting, chosen, explanation))
        return explanation

    def _explain(self, painting: "LabelledPainting", chosen: str) -> Explanation:
        task, _, name = chosen.partition("/")
        tasks = self.model.run.tasks
        if task not in tasks:
            raise UserError(f"the model answers {', '.join(tasks)}, not {task or 'nothing'}")
        numbers = {each: number for number, each in enumerate(tasks[task].classes)}
        if name and name not in numbers:
            raise UserError(f"{name} is no {task} that the model knows")
        if not name:
            assert painting.prediction.probabilities is not None
            name = tasks[task].classes[int(painting.prediction.probabilities[task].argmax())]
        heat = self.model.heats(painting, {task: numbers[name]})[task]
        if heat is None:
            raise UserError(f"{task} is judged by the middle of the painting alone: there is no map of the whole of it")
        from painters_mtl.evaluation.heatmaps import overlay, upsampled
        from painters_mtl.reports.sheets_explanation import UNPROVEN

        pixels = painting.pixels()
        shown = overlay(pixels, upsampled(heat, pixels.shape[1], pixels.shape[0]))
        proven = not heat.any() or self.model.stands_out(painting, task, numbers[name])
        return Explanation(f"{task}: {name}", heat, shown, "" if proven else UNPROVEN)

    def share_image(self, painting: "LabelledPainting", explanation: Explanation | None) -> bytes:
        """One picture to send, a PNG: see `share_image.write_share_image`."""
        foot = [f"{shortened(painting.name, 80)}; labelled by {shortened(self.model.name, 60)}, painters-mtl"]
        if self.model.run.demo:
            foot.append("a demo model, which knows no real paintings")
        if explanation and explanation.note:
            foot.append(f"of the map: {explanation.note}")
        overlaid = explanation.overlaid if explanation else None
        label = explanation.label if explanation else ""
        return write_share_image(painting.pixels(), overlaid, label, labels(self.model.run, painting.prediction), foot)

    def nearest(self, painting: "LabelledPainting", count: int = NEAREST) -> tuple[list[dict[str, Any]], str]:
        """The works of the collection most like a painting, and one sentence on the collection."""
        if self.collection is None:
            return [], NO_COLLECTION
        return self.collection.nearest(painting, count), self.collection.state()

    def compare(self, given: Any, first: str, second: str, session: str | None = None) -> dict[str, dict[str, Any]]:
        """The answers of two models to a painting: {model: answers}. Raises `Unreadable` and `UserError`."""
        file = self.uploads.file(given, session)
        names = (first, second) if first != second else (first, f"{first} (again)")
        return {
            shown: self.comparable_models.labels(name, file) for shown, name in zip(names, (first, second), strict=True)
        }

    def card_of_model(self) -> dict[str, Any]:
        """What the model is: see `model_card`."""
        return model_card(self.model.run, self.model.name)

    def made(self, name: str, content: bytes, session: str | None) -> Path:
        """A file for a page to download."""
        file = self.uploads.folder_for(session) / name
        file.write_bytes(content)
        return file


def sentence(error: Exception) -> str:
    """An error as the page says it."""
    if isinstance(error, Unreadable):
        if error.path or error.reason != "missing":
            return f"{error}. Pictures are read as JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or PPM."
        return f"{error.detail[:1].upper()}{error.detail[1:]}: choose the picture once more."
    text = str(error)
    return text[:1].upper() + text[1:] + "."
