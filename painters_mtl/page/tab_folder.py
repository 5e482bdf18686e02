"""The tab "Folder": a zip or many pictures to a table and a gallery, with progress, a stop and a CSV."""

import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import gradio as gr

from painters_mtl.common.errors import Unreadable, UserError
from painters_mtl.page import limits, render
from painters_mtl.page.folder import label_pictures, pictures_in
from painters_mtl.page.questions import Questions, sentence

EMPTY = (
    f"Give a zip, or up to {limits.MOST_PICTURES:,} pictures at once. Their labels come as a table to look at and as a "
    "CSV to keep."
)
REFRESH = 0.7  # seconds between two pictures of the progress
_stops: dict[str, threading.Event] = {}  # of the folders under way, by session


def build(questions: Questions) -> None:
    """Draw the tab, within a `gr.Tab`."""
    files = gr.File(
        label=f"A zip, or many pictures (at most {limits.MAX_FILE >> 20} MB each)",
        file_count="multiple",
        height=180,
        elem_id="files",
    )
    with gr.Row():
        start = gr.Button("Label them", variant="primary", elem_id="start", size="md")
        stop = gr.Button("Stop", interactive=False, elem_id="stop", size="md")
        csv = gr.DownloadButton("Download the CSV", interactive=False, elem_id="csv", size="md")
    result = gr.HTML(render.hint(EMPTY), elem_id="folder")

    def on_start(given: Any, request: gr.Request) -> Iterator[list[Any]]:
        yield from label(questions, given, request.session_hash)

    def on_stop(request: gr.Request) -> None:
        halt(request.session_hash)

    start.click(
        on_start,
        [files],
        [result, start, stop, csv],
        preprocess=False,
        show_progress="hidden",
        concurrency_id="folder",
        concurrency_limit=1,
        api_visibility="private",
    )
    stop.click(on_stop, None, None, concurrency_limit=None, show_progress="hidden", api_visibility="private")


def label(questions: Questions, given: Any, session: str | None) -> Iterator[list[Any]]:
    """Label what was given, with the state of the tab as it goes on: what is shown, the buttons, the CSV."""
    idle = [gr.update(interactive=True), gr.update(interactive=False)]
    if not given:
        yield [render.problem("Nothing was given: choose a zip or some pictures first."), *idle, gr.update()]
        return
    stop = _stops[session or ""] = threading.Event()
    last = 0.0
    try:
        uploads = [questions.uploads.file(each, session) for each in given]
        pictures = pictures_in(uploads)
        csv = questions.uploads.folder_for(session) / "labels.csv"
        tasks = list(questions.model.run.tasks)
        busy = [gr.update(interactive=False), gr.update(interactive=True)]
        keep = partial(questions.uploads.keep, uploads)
        for progress in label_pictures(questions.model, pictures, csv, stop, in_use=keep):
            if progress.finished:
                file = gr.update(value=str(csv), interactive=True)
                yield [render.folder(progress, tasks), *idle, file]
            elif time.monotonic() - last > REFRESH:
                last = time.monotonic()
                yield [render.folder(progress, tasks), *busy, gr.update(interactive=False)]
    except (Unreadable, UserError) as error:
        yield [render.problem(sentence(error)), *idle, gr.update()]
    except OSError:  # such as a full disk; its message may name paths
        yield [
            render.problem("The table could not be written: the disk of this machine may be full."),
            *idle,
            gr.update(),
        ]
    finally:
        _stops.pop(session or "", None)


def halt(session: str | None) -> None:
    """End the folder of a session after the picture that is under way."""
    if stop := _stops.get(session or ""):
        stop.set()
