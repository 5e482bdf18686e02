"""A training that diverges ends with an error, one that learns nothing with a warning; both name the way out."""

from pathlib import Path

import numpy as np
import pytest
from helpers import arguments, make_data, tiny_settings

from painters_mtl import train
from painters_mtl.common.errors import UserError
from painters_mtl.training.convergence import chance_warning, check_finite

NAN, INF = float("nan"), float("inf")
SOUND = [np.ones(3, np.float32)]


def task(accuracy: float, majority: float, n: int = 10) -> dict[str, float]:
    return {"accuracy": accuracy, "majority": majority, "n": n}


def test_a_loss_that_is_no_number_is_an_error() -> None:
    check_finite(np.array([[1.0, NAN], [2.0, NAN]]), SOUND, 1, 0.1)  # the second head had no label
    for losses, weights in (
        ([[1.0, INF], [2.0, 1.0]], SOUND),
        ([[NAN, NAN], [NAN, NAN]], SOUND),
        ([[1.0, 2.0]], [*SOUND, np.array([0.0, NAN])]),
    ):
        with pytest.raises(
            UserError, match=r"no longer a finite number in epoch 3: .* lower --learning-rate \(it was 10;"
        ):
            check_finite(np.array(losses), weights, 3, 10.0)


def test_chance_is_the_most_frequent_class_in_all_tasks() -> None:
    assert chance_warning({"style": task(0.3, 0.3), "genre": task(0.5, 0.4)}, 0.0) == ""
    assert chance_warning({"style": task(NAN, NAN, 0)}, 0.0) == ""
    assert chance_warning({"style": task(1.0, 1.0)}, 0.0) == ""  # nothing could be better
    words = chance_warning({"style": task(0.3, 0.3), "genre": task(0.2, 0.4), "painter": task(NAN, NAN, 0)}, 10.0)
    assert "style 30.0 % of 10 where that gives 30.0 %, genre 20.0 % of 10 where that gives 40.0 %" in words
    assert "a lower --learning-rate (it was 10), or more --epochs" in words and "painter" not in words
    assert "--learning-rate" not in chance_warning({"style": task(0.3, 0.3)}, 0.0)


@pytest.mark.slow
def test_a_learning_rate_that_is_far_too_high_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At 10 the network names one class for all paintings; at 1e30 its weights overflow."""
    data = make_data(tmp_path / "data", count=80, seed=1)
    changes = {"epochs": 2, "baselines": False}
    high = tiny_settings(data, tmp_path, name="high", learning_rate=10.0, **changes)
    assert train.main(arguments(high)) == 0
    assert "warning: on the validation paintings the network is no better than" in capsys.readouterr().err
    overflow = tiny_settings(data, tmp_path, name="overflow", learning_rate=1e30, **changes)
    assert train.main(arguments(overflow)) == 2
    assert "the loss is no longer a finite number in epoch 1" in capsys.readouterr().err
    assert not (overflow.models / "overflow").exists()
