"""What a model is, for the tab "Model": read from the files of its run folder."""

from typing import TYPE_CHECKING, Any

from painters_mtl.common.files import read_if_sound
from painters_mtl.runs.run import CONFIG, METRICS, REPORT

if TYPE_CHECKING:
    from painters_mtl.runs.run import Run

NOT_FOR = (
    "It names the class that a picture looks most like. It is no attribution, says nothing of whether a work is "
    "genuine, and nothing of what it is worth. It knows only the classes listed below; the work of anybody else is at "
    "best answered with “unknown”."
)


def model_card(run: "Run", name: str) -> dict[str, Any]:
    """{"model", "demo", "what": a sentence, "tested": {task: metrics}, "not_for", "classes": {task: names}}."""
    # A bundled model holds only what it needs.
    metrics, config = (read_if_sound(run.folder / name) for name in (METRICS, CONFIG))
    what = f"It looks at each painting squashed to {run.image_size} x {run.image_size} pixels"
    if len(run.views) > 1:
        what += " and at its middle at a higher resolution"
    what += "."
    if "backbone" in config:
        what += f" Backbone {config['backbone']}"
        what += f", {metrics['parameters']:,} parameters." if "parameters" in metrics else "."
    tested = {task: m for task, m in metrics.get("test", {}).items() if task in run.tasks and m["n"]}
    classes = {task: list(of.classes) for task, of in run.tasks.items()}
    return {"model": name, "demo": run.demo, "what": what, "tested": tested, "not_for": NOT_FOR, "classes": classes}


def report(run: "Run") -> str:
    """The report that the training wrote, one HTML page; "" where there is none."""
    try:
        return (run.folder / REPORT).read_text(encoding="utf-8")
    except OSError:
        return ""
