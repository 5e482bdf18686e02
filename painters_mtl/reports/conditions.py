"""The conditions of a measurement, in sentences: what was the same for both sides, and what validation chose."""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from painters_mtl.data.tasks import ALL_PAINTERS
from painters_mtl.reports.html import listed
from painters_mtl.studies.settings import DISTILLED
from painters_mtl.training.defaults import EPOCHS_OF_HEADS, SAMPLES, SAMPLES_OF_BEST, STEPS_OF_HEADS, default_epochs
from painters_mtl.training.settings import EVENED_OUT, TrainSettings


def conditions(settings: TrainSettings, history: pd.DataFrame, tasks: Sequence[str], demo: bool) -> list[str]:
    """What was the same for the shared network and for those of one task, and what was not, in sentences.

    Args:
        history: of the shared network; it tells which heads there were.
        tasks: those of the shared network.
        demo: whether the paintings were drawn by code.
    """
    return [_budget(settings, demo), _weights(settings, tasks), *_only_the_shared_network(settings, history, demo)]


def _budget(settings: TrainSettings, demo: bool) -> str:
    if settings.budget == "equal-updates":
        first, *others = getattr(settings, "strategies", ()) or ("",)
        shared = f"the shared one of {first}" if others else "the shared one"
        return (
            f"Every network for one task takes as many steps as {shared}, but for a part of an epoch, so it sees its "
            "labelled works more often; the epoch that is best on the validation paintings is kept."
            + (f" The shared networks of {listed(others)} take as many as their own rules say." if others else "")
        )
    best = settings.quality == "best"
    length = f"some {SAMPLES_OF_BEST if best else SAMPLES:,} training samples, in 5 to {40 if best else 20} epochs"
    if settings.epochs or settings.fine_tune == "heads":
        heads = f"{EPOCHS_OF_HEADS} epochs of at least {STEPS_OF_HEADS} steps"
        length = f"{settings.epochs} epochs" if settings.epochs else heads
    elif demo:
        length = f"{default_epochs(1, demo)} epochs"
    return (
        f"Every network trains by the same rules on every painting that has a label of its own: {length}, or until the "
        f"validation accuracy has not risen for {settings.patience} epochs, and the epoch that is best on the "
        "validation paintings is kept. A network for one task so takes fewer steps where its labels are scarce."
    )


def _weights(settings: TrainSettings, tasks: Sequence[str]) -> str:
    ways = getattr(settings, "strategies", ()) or (settings.strategy,)
    evened = [way for way in ways if way in EVENED_OUT]
    weights = ", ".join(f"{name} {settings.loss_weights().get(name, 1.0):g}" for name in tasks)
    shown = "every work is shown once an epoch"
    if settings.label_share:
        shown = (
            "it is shown works with a scarce label up to three times an epoch, until "
            f"{settings.label_share:.0%} of what it is shown has that label"
        )
    undone = f", which changes little with {listed(evened)}" if evened else ""
    return f"The shared network's losses are weighted ({weights}){undone}, and {shown}."


def _only_the_shared_network(settings: TrainSettings, history: pd.DataFrame, demo: bool) -> list[str]:
    """What the shared network has and the others lack, and the refit of the heads, which all have."""
    sentences = []
    if settings.start_from:
        sentences.append("It alone starts from networks that were trained before; their training is not in its costs.")
    if settings.teachers:
        sentences.append(
            "It alone learns from the soft targets of networks that were trained before, the same ones for every seed: "
            "what it gains is theirs too, and their training is not in its costs."
        )
    if settings.distill or DISTILLED in getattr(settings, "strategies", ()):
        which = "It alone" if settings.distill else "Where it is distilled, it alone"
        sentence = "learns from soft targets too: those of the networks for one task each, which are trained first."
        sentences.append(f"{which} {sentence} Their training is not in its costs.")
        more = []
        if replace(settings.of_one_training(), distill=True).starts_from_teachers():
            more.append("starts from the mean of their weights")
        if not (settings.epochs or demo or settings.fine_tune == "heads" or settings.quality == "best"):
            more.append("trains up to twice as many epochs")
        if more:
            sentences.append(f"It {' and '.join(more)}.")
    if settings.freeze != "none":
        span = f"for {settings.freeze_epochs} epochs" if settings.freeze_epochs else "as long as it trains"
        frozen = "heads are" if settings.freeze == "heads" else "backbone is"
        sentences.append(f"Of it alone, the {frozen} frozen {span}.")
    if settings.refits_heads():
        fits = "the finished features"
        if settings.ends_multi_scale():
            fits = "the pyramid maps of the backbone, then to all maps with a penalty on its weights"
        sentences.append(
            f"At the end, each head is fitted anew to {fits}, as a linear probe, as far as validation gains by it."
        )
    if f"{ALL_PAINTERS}_loss" in history:
        sentences.append(
            "The shared network alone trains with a head over all painters with ten works or more: labels that a "
            "network for one task does not use. What it gains is the gain of both, not of sharing alone; "
            "--other-painters 0 leaves that head out."
        )
    return sentences


def validation_note(settings: TrainSettings) -> str:
    """What the validation paintings chose, so that figures measured on them look better than they are."""
    choices = ["the epoch that is kept"]
    if settings.refits_heads():
        choices.append("which heads are fitted anew")
    choices.append("the temperatures")
    if settings.painter_known:
        choices.append("the maps that the known-class heads read")
    choices.append('the thresholds of "unknown"')
    return (
        f"The validation paintings choose {listed(choices)}. Figures measured on them therefore flatter the network: "
        "take them for the course of the training, not for what the network will reach. Nothing was chosen on the test "
        "paintings: only their figures are clean."
    )
