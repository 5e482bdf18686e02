"""The folder that the page looks for nearest works in: its vectors, computed in the background with progress."""

import base64
import io
import threading
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from painters_mtl.common import messages
from painters_mtl.common.errors import Unreadable, UserError
from painters_mtl.images.files import ImageFile, find_images, load_image
from painters_mtl.inference import embeddings
from painters_mtl.inference.embeddings import Vector
from painters_mtl.inference.nearest import LoadedVectors, nearest
from painters_mtl.page.limits import NEAREST

if TYPE_CHECKING:
    from painters_mtl.page.model import LabelledPainting, PageModel

SEE_TERMINAL = "the terminal in which the page runs says why"  # that may name paths
STEP = 64  # pictures between two looks at the progress, and at whether to stop
THUMBNAIL = 240  # longer side, in pixels


class Collection:
    """The works under a folder. `start` computes their vectors, or finds them in the cache, in a thread of its own."""

    def __init__(self, folder: Path, model: "PageModel", cache: Path) -> None:
        self.folder, self._model, self._cache = folder, model, cache
        self._done, self._total, self._problem = 0, 0, ""
        self._vectors: LoadedVectors | None = None
        self._unread = 0
        self._stop, self._lock = threading.Event(), threading.Lock()

    @property
    def ready(self) -> bool:
        """Whether works can be looked for."""
        return self._vectors is not None

    @property
    def reading(self) -> bool:
        """Whether it will be ready later."""
        return self._vectors is None and not self._problem

    def start(self) -> None:
        """Begin in the background."""
        threading.Thread(target=self._read, name="collection", daemon=True).start()

    def fail(self) -> None:
        """It will never be ready: the terminal said why."""
        self._problem = self._problem or SEE_TERMINAL

    def close(self) -> None:
        """End the reading after the pictures that are under way; what is done is in the cache."""
        self._stop.set()

    def state(self) -> str:
        """One sentence: how far it is."""
        name = self.folder.resolve().name
        if self._problem:
            return f"The collection {name} cannot be used: {self._problem}."
        if self._vectors is not None:
            unread = f"; {self._unread:,} could not be read" if self._unread else ""
            return f"{self._total - self._unread:,} works of {name}{unread}"
        if not self._total:
            return f"Looking for pictures in {name} ..."
        return f"Reading {name}: {self._done:,} of {self._total:,} works are done. Ask again in a moment."

    def nearest(self, painting: "LabelledPainting", count: int = NEAREST) -> list[dict[str, Any]]:
        """The works most like a painting: {"work", "likeness", "labels"} each, the likest first; none while it reads.

        "work" is the path below the folder; "likeness" the cosine of the features, at most 1.
        """
        vectors = self._vectors
        if vectors is None:
            return []
        query = Vector(ImageFile(""), self._model.features(painting), {})  # what was uploaded is no file of the folder
        try:
            (matches,) = nearest([query], vectors, count)
        except UserError as error:  # the cache is gone, which may be removed at any time
            with self._lock:
                first = self._vectors is vectors
                self._vectors, self._done = None, 0
            if first:  # of several questions at once
                messages.warn(f"note: the collection is read once more: {error}")
                self.start()
            return []
        return [
            {
                "work": self._shown(match.vector.file),
                "likeness": round(match.cosine, 4),
                "labels": {task: label for task, (label, _) in match.vector.labels.items()},
                "file": match.vector.file,
            }
            for match in matches
        ]

    def _shown(self, file: ImageFile) -> str:
        """A work's path below the folder; nothing above it is anybody's business."""
        return str(file).removeprefix(str(self.folder)).lstrip("/") or file.name

    def _read(self) -> None:
        try:
            files = find_images(self.folder)
            if not files:
                self._problem = "there is no picture in it"
                return
            self._total = len(files)
            run = self._model.run
            forward = embeddings.row_forward(run, self._model.named)
            errors: dict[ImageFile, str] = {}
            for start in range(0, len(files), STEP):
                if self._stop.is_set():
                    return
                part = embeddings.compute(run, files[start : start + STEP], self._cache, forward=forward)
                errors |= part.errors
                self._done = min(start + STEP, len(files))
            readable = [file for file in files if file not in errors]
            vectors = embeddings.compute(run, readable, self._cache, forward=forward)
            self._unread = len(errors) + len(vectors.errors)
            self._vectors = LoadedVectors(vectors)
        except KeyboardInterrupt:  # Ctrl-C, which ends the page
            return
        except (UserError, OSError) as error:
            messages.warn(f"error: {error}")
            self.fail()
        except Exception as error:  # in a thread of its own nobody else would say it
            messages.warn(f"error: the collection {self.folder} could not be read: {type(error).__name__}: {error}")
            self.fail()


@lru_cache(maxsize=512)
def thumbnail_url(file: ImageFile) -> str:
    """A small picture of a work as a data URL; "" where it cannot be read any more."""
    try:
        pixels = load_image(file, longest=THUMBNAIL).pixels
    except Unreadable:
        return ""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
