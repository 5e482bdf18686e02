"""Whether a training learns: a loss that is no longer finite ends it, and an accuracy at chance is said."""

from collections.abc import Iterable, Mapping

import numpy as np

from painters_mtl.common.errors import UserError


def check_finite(losses: np.ndarray, weights: Iterable[np.ndarray], epoch: int, learning_rate: float) -> None:
    """Raise `UserError` where the training has diverged: nothing of it can be used, and nothing will come of it.

    Args:
        losses: of the epoch's steps, float (steps, heads); NaN where a head had no label in the batch.
        weights: of the network.
        epoch: its number, from 1.
        learning_rate: at its peak.
    """
    sound = not np.isinf(losses).any() and not np.isnan(losses).all()
    if not sound or not all(np.isfinite(values).all() for values in weights):
        raise UserError(
            f"the loss is no longer a finite number in epoch {epoch}: train again with a lower --learning-rate "
            f"(it was {learning_rate:g}; 0 chooses one), in float32 if --precision was another"
        )


def chance_warning(validation: Mapping[str, Mapping[str, float]], learning_rate: float) -> str:
    """The sentence for a network that is no better than chance in any task, else "".

    Chance is the accuracy of always naming the class that is most frequent in training; where that is always right,
    nothing can be better.

    Args:
        validation: metrics of the validation paintings by task, from `metrics.all_metrics`.
        learning_rate: as the settings have it; 0: the default.
    """
    measured = {name: values for name, values in validation.items() if values["n"] and values["majority"] < 1}
    if not measured or any(values["accuracy"] > values["majority"] for values in measured.values()):
        return ""
    figures = ", ".join(
        f"{name} {100 * values['accuracy']:.1f} % of {values['n']:,} where that gives {100 * values['majority']:.1f} %"
        for name, values in measured.items()
    )
    lower = f"a lower --learning-rate (it was {learning_rate:g}), or " if learning_rate else ""
    return (
        "warning: on the validation paintings the network is no better than always naming the most frequent class "
        f"({figures}); train again with {lower}more --epochs or paintings"
    )
