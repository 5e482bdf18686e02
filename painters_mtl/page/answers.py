"""What the page says of a painting, as plain values: the answer of `/label`, and what the templates write."""

from typing import TYPE_CHECKING, Any

import numpy as np

from painters_mtl.data.tasks import UNKNOWN
from painters_mtl.inference.predictor import PredictOptions
from painters_mtl.page.limits import TOP

if TYPE_CHECKING:
    from painters_mtl.inference.predictor import Prediction
    from painters_mtl.page.model import LabelledPainting
    from painters_mtl.runs.run import Run

UNKNOWN_TASKS = PredictOptions().unknown_tasks  # as `predict` answers without options


def labels(run: "Run", prediction: "Prediction", count: int = TOP) -> dict[str, dict[str, Any]]:
    """The answer to each task: {task: values}, which JSON can hold.

    "answer" is the likeliest class or "unknown"; "doubtful" whether the score, "known", from 0 to 1, is below the
    run's "threshold"; "likeliest" lists the `count` likeliest classes, each {"class", "confidence"}; "classes" is how
    many the model knows.
    """
    assert prediction.probabilities is not None
    answers = {}
    for name, task in run.tasks.items():
        probabilities = prediction.probabilities[name]
        order = np.argsort(-probabilities, kind="stable")[:count]
        likeliest = [{"class": task.classes[k], "confidence": round(float(probabilities[k]), 4)} for k in order]
        doubtful = prediction.unknown(run, name)
        answers[name] = {
            "answer": UNKNOWN if doubtful and name in UNKNOWN_TASKS else likeliest[0]["class"],
            "doubtful": doubtful,
            "known": round(prediction.known_scores[name], 6),
            "threshold": round(run.thresholds.get(name, 0.0), 6),
            "likeliest": likeliest,
            "classes": len(task.classes),
        }
    return answers


def painting_values(run: "Run", model: str, painting: "LabelledPainting") -> dict[str, Any]:
    """All that is said of a painting, for `/label` and to be copied as JSON."""
    values: dict[str, Any] = {"file": painting.name, "width": painting.width, "height": painting.height}
    if painting.repaired:
        values["read_in_part"] = painting.repaired
    values |= {"model": model, "labels": labels(run, painting.prediction)}
    if run.demo:
        values["note"] = "the model was trained on paintings drawn by code: of real ones its labels mean nothing"
    return values


def class_choices(answers: dict[str, dict[str, Any]]) -> list[tuple[str, str]]:
    """The labels that can be explained, the likeliest of each task first: (what is shown, "task/class")."""
    ordered = sorted(
        ((rank, task, label) for task, values in answers.items() for rank, label in enumerate(values["likeliest"])),
        key=lambda item: (list(answers).index(item[1]), item[0]),
    )
    return [
        (f"{task}: {label['class']} ({percent(label['confidence'])})", f"{task}/{label['class']}")
        for _, task, label in ordered
    ]


def percent(share: float) -> str:
    """A confidence as people read it: "71 %", and at the ends "under 1 %" and "over 99 %"; unbreakable.

    A softmax is never quite 0 or 1, also where its rounded value is.
    """
    said = "under 1 %" if share < 0.01 else "over 99 %" if share > 0.99 else f"{100 * share:.0f} %"
    return said.replace(" %", "\u00a0%")
