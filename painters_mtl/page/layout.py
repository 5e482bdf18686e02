"""The page as a whole: its head, its four tabs, its HTTP interface."""

from collections.abc import Sequence
from pathlib import Path

import gradio as gr

from painters_mtl.data.tasks import plural
from painters_mtl.page import interface, render, tab_compare, tab_folder, tab_painting
from painters_mtl.page.model_card import report
from painters_mtl.page.questions import Questions
from painters_mtl.runs.model_choice import bundled_model

TITLE = "Painters: painter, style and genre of a painting"
DEMO = (
    '<p class="notice"><b>This model knows only the demo.</b> It was trained on paintings drawn by code: what it says '
    "of real ones means nothing.</p>"
)
NO_REPORT = "This model has no report of its training."


def build_page(questions: Questions, examples: Sequence[Path] = ()) -> gr.Blocks:
    """All of the page, ready to be launched."""
    with gr.Blocks(title=TITLE, analytics_enabled=False) as page:
        gr.HTML(_head(questions), elem_id="head")
        with gr.Tabs():
            with gr.Tab("Painting", id="painting"):
                tab_painting.build(questions, examples)
            with gr.Tab("Folder", id="folder"):
                tab_folder.build(questions)
            with gr.Tab("Compare", id="compare"):
                tab_compare.build(questions, examples)
            with gr.Tab("Model", id="model"):
                _build_model_tab(questions)
        interface.add_interface(questions)

        def forget(request: gr.Request) -> None:
            _forget(questions, request.session_hash)

        page.unload(forget)
    return page


def _head(questions: Questions) -> str:
    known = ", ".join(f"{len(task.classes)} {plural(name)}" for name, task in questions.model.run.tasks.items())
    model = questions.model
    bundled = model.run.folder == bundled_model()
    name = render.hint(f"{'The bundled model' if bundled else f'The model {model.name}'} knows {known}.")
    text = "<h1>What painting is this?</h1><p>Drop one below: a network says whose hand it looks like, in which style "
    text += "and what it shows, how sure it is of each, and what in the picture speaks for it.</p>"
    return f'<header class="head">{text}{name}{DEMO if model.run.demo else ""}</header>'


def _build_model_tab(questions: Questions) -> None:
    gr.HTML(render.run_card(questions.card_of_model()), elem_id="model-card")
    button = gr.Button("Show the report of its training", elem_id="show-report")
    frame = gr.HTML("", elem_id="report")

    def show() -> str:
        page = report(questions.model.run)
        return render.report_frame(page) if page else render.hint(NO_REPORT)

    button.click(show, None, [frame], api_visibility="private")


def _forget(questions: Questions, session: str | None) -> None:
    """A tab was closed: its folder stops, its uploads go."""
    if session:
        tab_folder.halt(session)
        questions.uploads.forget(session)
