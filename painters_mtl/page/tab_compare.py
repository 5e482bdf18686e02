"""The tab "Compare": two models, or one network and three baselines, on the same painting, side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from painters_mtl.common.errors import Unreadable, UserError
from painters_mtl.page import render
from painters_mtl.page.limits import AT_ONCE
from painters_mtl.page.questions import Questions, sentence
from painters_mtl.page.tab_painting import add_examples, painting_input

EMPTY = (
    "One network that learned all tasks together, or one for each task alone: does it make a difference for this "
    "painting? Give one, and the answers of both stand here side by side."
)
ALONE = (
    "There is only one model here. Train its baselines too (painters-mtl train without --no-baselines), or "
    "keep another run in the same folder, and they can be compared."
)


def build(questions: Questions, examples: Sequence[Path]) -> None:
    """Draw the tab, within a `gr.Tab`."""
    names = questions.comparable_models.names()
    if len(names) < 2:
        gr.HTML(render.hint(ALONE))
        return
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=300):
            painting = painting_input("compared-painting", 300)
        with gr.Column(scale=6, min_width=300):
            first = gr.Dropdown(names, value=names[0], label="First model", elem_id="first")
            second = gr.Dropdown(names, value=names[1], label="Second model", elem_id="second")
            if examples:
                add_examples(examples, painting)
    result = gr.HTML(render.hint(EMPTY), elem_id="compared")

    def on_change(given: Any, one: str, other: str, request: gr.Request) -> str:
        return compare(questions, given, one, other, request.session_hash)

    gr.on(
        [painting.change, first.input, second.input],
        on_change,
        [painting, first, second],
        [result],
        preprocess=False,
        concurrency_id="network",
        concurrency_limit=AT_ONCE,
        api_visibility="private",
        show_progress_on=[result],
    )


def compare(questions: Questions, given: Any, first: str, second: str, session: str | None) -> str:
    """The answers of both models, as HTML."""
    if given is None:
        return render.hint(EMPTY)
    try:
        return render.compared(questions.compare(given, first, second, session))
    except (Unreadable, UserError) as error:
        return render.problem(sentence(error))
