"""What watches a training: the turns of tasks, the means of what is known."""

import numpy as np

from painters_mtl.training.monitoring import TaskTurns, TrainedEpoch, mean_of_known

NAN = float("nan")


def test_turns_by_hand() -> None:
    turns = TaskTurns(["painter", "style", "genre"])
    turns.turns = {"painter": [(1, 2.0), (1, 1.0), (5, 4.0), (4, NAN)], "style": [(2, 3.0)], "genre": [(3, 1.0)] * 3}
    assert turns.summary() == {
        "painter": {"share": 0.5, "loss_after": {"1": 1.5, "4 or more": 4.0}},
        "style": {"share": 0.125, "loss_after": {"2": 3.0}},
        "genre": {"share": 0.375, "loss_after": {"3": 1.0}},
    }


def test_a_turn_is_noted_with_the_steps_since_the_last_one_in_the_same_epoch() -> None:
    """The loss is that of the task's own head; heads come in another order than tasks, and one task has two."""
    turns = TaskTurns(["painter", "style"])
    heads = ["style", "painter", "all_painters"]
    schedule = np.array([0, 1, 1, 0, 1])
    losses = np.arange(15, dtype=np.float32).reshape(5, 3)
    for _ in range(2):
        assert turns.after_training(TrainedEpoch(heads, losses, schedule)) == {}
    assert turns.turns == {"painter": [(3, 10.0)] * 2, "style": [(1, 6.0), (2, 12.0)] * 2}
    assert TaskTurns(["painter"]).summary() == {}


def test_the_mean_of_what_is_known() -> None:
    means = mean_of_known(np.array([[1.0, NAN, NAN], [3.0, 5.0, NAN]]))
    np.testing.assert_array_equal(means, [2.0, 5.0, NAN])
