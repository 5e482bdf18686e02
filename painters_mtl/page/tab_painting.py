"""The tab "Painting": drop it, read its labels, see what speaks for them, and the works that are most like it."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from painters_mtl.common.errors import Unreadable, UserError
from painters_mtl.page import render
from painters_mtl.page.answers import class_choices
from painters_mtl.page.limits import AT_ONCE
from painters_mtl.page.model import LabelledPainting
from painters_mtl.page.questions import Questions, sentence

EMPTY = "Drop a painting, paste one, choose a file or take an example. What it looks like to the model stands here."
EMPTY_MAP = "What in the painting speaks for a label is shown here."
PREPARING = (
    "The network is being made ready to explain its labels. That takes some seconds once, after the page was started."
)
EMPTY_WORKS = "The works of a collection that are most like the painting are shown here."
MAPS = (
    "Move the slider below the picture to go from the painting to the map. It shows what the network reacted to, not "
    "what a person would know the painter by."
)
EMPTY_JSON = "All that is said of a painting stands here as text, for other programs."
SHARE_IMAGE = "Download as a picture (PNG)"
SLIDE = """element.addEventListener('input', event => {
  if (event.target.type === 'range') event.target.closest('.wipe').style.setProperty('--at', event.target.value + '%');
});"""
CHOOSE = """element.addEventListener('click', event => {
  const button = event.target.closest('button');
  if (button) trigger('click', {number: button.dataset.number});
});"""
COPY = """element.addEventListener('click', event => {
  const button = event.target.closest('button'), text = element.querySelector('textarea');
  if (!button || !text) return;
  text.select();
  const copied = document.execCommand('copy');
  if (copied) button.focus();
  element.querySelector('[role=status]').textContent = copied ? 'Copied.' : 'It is selected: copy it with Ctrl-C.';
});"""  # navigator.clipboard is there only over HTTPS and on this machine
NETWORK: dict[str, Any] = {"concurrency_id": "network", "concurrency_limit": AT_ONCE, "api_visibility": "private"}


def build(questions: Questions, examples: Sequence[Path]) -> None:
    """Draw the tab, within a `gr.Tab`."""
    labelled = gr.State(None, time_to_live=3600)
    with gr.Row(equal_height=False):
        with gr.Column(min_width=300):
            painting = painting_input("painting", 380)
            if examples:
                add_examples(examples, painting)
        with gr.Column(min_width=300):
            answers = gr.HTML(render.hint(EMPTY), elem_id="answers")
    gr.HTML("<h2>What speaks for a label</h2>")
    with gr.Row(equal_height=False):
        with gr.Column(min_width=300):
            explained = gr.HTML(render.hint(EMPTY_MAP), elem_id="explained", js_on_load=SLIDE)
        with gr.Column(min_width=300):
            chosen = gr.Dropdown([], label="Label to explain", interactive=True, elem_id="chosen", visible=False)
            gr.HTML(render.hint(MAPS))
            share_image = gr.DownloadButton(SHARE_IMAGE, interactive=False, elem_id="card", size="md")
    gr.HTML("<h2>Works most like it</h2>")
    works = gr.HTML(render.hint(EMPTY_WORKS), elem_id="works")
    again = gr.Button("Look again", elem_id="again", size="sm", visible=False)
    with gr.Accordion("The answers as JSON, to copy", open=False):
        values = gr.HTML(render.hint(EMPTY_JSON), elem_id="json", js_on_load=COPY)

    def on_painting(given: Any, request: gr.Request) -> list[Any]:
        return show(questions, given, request.session_hash)

    def on_label(of: LabelledPainting | None, label: str | None) -> Iterator[str]:
        yield from explain(questions, of, label)

    def on_works(of: LabelledPainting | None) -> list[Any]:
        return nearest(questions, of)

    # gradio calls the endpoint as the function, and that name stays.
    def on_card(of: LabelledPainting | None, label: str | None, request: gr.Request) -> Any:
        return make_share_image(questions, of, label, request.session_hash)

    outputs = [labelled, answers, chosen, values, explained, works, share_image]
    steps = painting.change(on_painting, [painting], outputs, preprocess=False, show_progress_on=[answers], **NETWORK)
    steps = steps.then(on_label, [labelled, chosen], [explained], show_progress_on=[explained], **NETWORK)
    steps = steps.then(on_works, [labelled], [works, again], show_progress_on=[works], **NETWORK)
    steps.then(on_card, [labelled, chosen], [share_image], show_progress="hidden", **NETWORK)
    steps = chosen.input(
        on_label, [labelled, chosen], [explained], show_progress_on=[explained], trigger_mode="always_last", **NETWORK
    )
    steps.then(on_card, [labelled, chosen], [share_image], show_progress="hidden", **NETWORK)
    again.click(on_works, [labelled], [works, again], show_progress_on=[works], **NETWORK)


def painting_input(name: str, height: int) -> gr.Image:
    """Where a painting is dropped, pasted or chosen."""
    return gr.Image(
        label="The painting",
        sources=["upload", "clipboard"],
        type="filepath",
        height=height,
        buttons=["fullscreen"],
        elem_id=name,
        placeholder="Drop a painting here\nor click to choose one",
        alt_text="the painting that you gave",
    )


def add_examples(examples: Sequence[Path], painting: gr.Image) -> None:
    """Small drawings to begin with, each a button with a name."""
    shown = gr.HTML(render.examples(examples), elem_id=f"{painting.elem_id}-examples", js_on_load=CHOOSE)

    def choose(event: gr.EventData) -> str:
        return str(examples[int(event.number) % len(examples)])

    shown.click(choose, None, [painting], api_visibility="private", show_progress="hidden")


def show(questions: Questions, given: Any, session: str | None) -> list[Any]:
    """The labels of a painting: values for the state and all parts of the tab, those of the others emptied."""
    others = [render.hint(EMPTY_MAP), render.hint(EMPTY_WORKS), gr.update(value=None, interactive=False)]
    nothing = [gr.update(choices=[], value=None, visible=False), render.hint(EMPTY_JSON)]
    if given is None:
        return [None, render.hint(EMPTY), *nothing, *others]
    try:
        painting = questions.look(given, session)
    except (Unreadable, UserError) as error:
        return [None, render.problem(sentence(error)), *nothing, *others]
    values = questions.values(painting)
    choices = class_choices(values["labels"])
    return [
        painting,
        render.answers(questions.model.run, painting),
        gr.update(choices=choices, value=choices[0][1], visible=True),
        render.json_text(values),
        *others,
    ]


def explain(questions: Questions, painting: LabelledPainting | None, chosen: str | None) -> Iterator[str]:
    """What speaks for the chosen label, as HTML with a slider; before it, where that takes long, why."""
    if painting is None or not chosen:
        yield render.hint(EMPTY_MAP)
        return
    if not questions.model.explains_at_once:
        yield render.waiting(PREPARING)
    try:
        explanation = questions.explain(painting, chosen)
    except UserError as error:
        yield render.problem(sentence(error))
        return
    yield render.before_after(painting, explanation.overlaid, explanation.heat, explanation.label, explanation.note)


def nearest(questions: Questions, painting: LabelledPainting | None) -> list[Any]:
    """The works most like the painting, as HTML, and whether to offer to look again: the collection is being read."""
    if painting is None:
        return [render.hint(EMPTY_WORKS), gr.update(visible=False)]
    reading = questions.collection is not None and questions.collection.reading
    return [render.nearest(*questions.nearest(painting)), gr.update(visible=reading)]


def make_share_image(
    questions: Questions, painting: LabelledPainting | None, chosen: str | None, session: str | None
) -> Any:
    """The picture to send, for the button that downloads it."""
    if painting is None or not chosen:
        return gr.update(value=None, interactive=False)
    try:
        explanation = questions.explain(painting, chosen)
    except UserError:
        explanation = None
    name = f"{Path(painting.name).stem[:60] or 'painting'}-labels.png"
    file = questions.made(name, questions.share_image(painting, explanation), session)
    return gr.update(value=str(file), interactive=True)
