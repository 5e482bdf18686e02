"""What watches a training: the turns of tasks, conflicts, TensorBoard, the progress; the means of what is known."""

import io
import re
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from painters_mtl.training.monitoring import (
    GradientConflict,
    HistoryFile,
    Progress,
    TensorBoardLog,
    TrainedEpoch,
    TurnRecorder,
    mean_of_known,
)

NAN = float("nan")


def test_turns_by_hand() -> None:
    turns = TurnRecorder(["painter", "style", "genre"])
    turns.records = {"painter": [(1, 2.0), (1, 1.0), (5, 4.0), (4, NAN)], "style": [(0, 3.0)], "genre": [(3, 1.0)] * 3}
    assert turns.summary() == {
        "painter": {"share": 0.5, "loss_after": {"1": 1.5, "4 or more": 4.0}},
        "style": {"share": 0.125, "loss_after": {}},
        "genre": {"share": 0.375, "loss_after": {"3": 1.0}},
    }


def test_a_turn_is_noted_with_the_steps_since_the_last_one_in_the_same_epoch() -> None:
    """The loss is that of the task's own head; heads come in another order than tasks, and one task has two."""
    turns = TurnRecorder(["painter", "style"])
    heads = ["style", "painter", "all_painters"]
    schedule = np.array([0, 1, 1, 0, 1])
    losses = np.arange(15, dtype=np.float32).reshape(5, 3)
    for _ in range(2):
        assert turns.after_training(TrainedEpoch(heads, losses, schedule)) == {}
    assert turns.records == {"painter": [(0, 1.0), (3, 10.0)] * 2, "style": [(0, 3.0), (1, 6.0), (2, 12.0)] * 2}
    assert {task: values["share"] for task, values in turns.summary().items()} == {"painter": 0.4, "style": 0.6}
    assert TurnRecorder(["painter"]).summary() == {}


def test_the_mean_of_what_is_known() -> None:
    means = mean_of_known(np.array([[1.0, NAN, NAN], [3.0, 5.0, NAN]]))
    np.testing.assert_array_equal(means, [2.0, 5.0, NAN])


def test_the_conflict_is_the_mean_over_the_batches_that_have_both_labels() -> None:
    """The cosine of two tasks comes once, the first task named first; a batch without a label of one does not count."""
    cosines = np.array([[[1, 0.5, NAN], [0.5, 1, NAN], [NAN] * 3], [[1, 0.1, 0.3], [0.1, 1, -0.2], [0.3, -0.2, 1]]])
    batches = iter([tf.constant(0), tf.constant(1), tf.constant(0)])
    conflict = GradientConflict(["painter", "style", "genre"], lambda batch: tf.gather(cosines, batch), batches, 2)  # type: ignore[arg-type]
    columns = conflict.after_training(TrainedEpoch([], np.zeros((0, 0)), np.zeros(0)))
    expected = {"cosine_painter_style": 0.3, "cosine_painter_genre": 0.3, "cosine_style_genre": -0.2}
    assert columns == pytest.approx(expected)
    assert len(list(batches)) == 1


def test_history_and_tensorboard_have_each_epoch_once(tmp_path: Path) -> None:
    history = [{"epoch": 1, "loss": 2.0, "val_score": NAN}, {"epoch": 2, "loss": 1.5, "val_score": 0.4}]
    observers = [HistoryFile(tmp_path), TensorBoardLog(tmp_path)]
    for epochs in (1, 2):
        for observer in observers:
            observer.after_validation(history[:epochs])
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "history.csv"), pd.DataFrame(history))
    (file,) = (tmp_path / "logs").glob("events.out.tfevents.*")
    events = [tf.compat.v1.Event.FromString(record.numpy()) for record in tf.data.TFRecordDataset(str(file))]
    values = [(e.step, v.tag, float(tf.make_ndarray(v.tensor))) for e in events for v in e.summary.value]
    assert [value for value in values if value[1] == "loss"] == [(1, "loss", 2.0), (2, "loss", 1.5)]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [Terminal(), io.StringIO()])
def test_a_bar_shows_paintings_a_second_and_the_time_left_on_a_terminal_alone(
    stream: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bar is that of the whole training: after half of the second of two epochs, three quarters are done."""
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    progress = Progress(epochs=2, steps=4, batch_size=10)
    progress.begin_epoch(1, steps_done=1)
    for _ in range(3):
        progress.add(1, loss=0.25)
        assert progress.bar is not None
        progress.bar.refresh()
    assert progress.end_steps() > 0
    bars = stream.getvalue().split("\r")
    if not stream.isatty():
        assert bars == [""]
        return
    assert any(
        re.search(r"epoch 2: +75%.* 60.0/80.0 \[.*<\d\d:\d\d, .* paintings/s, loss 0.250\]", bar) for bar in bars
    )
    assert progress.time_left(0) == progress.time_left(1) == "00:00"


def test_the_time_left_after_half_an_epoch_is_that_of_whole_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resumed in the middle of an epoch: two of its four steps take 10 s after the first, so an epoch takes 40 s."""
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    progress = Progress(epochs=3, steps=4, batch_size=10)
    progress.begin_epoch(0, steps_done=2)
    for _ in range(2):
        clock[0] += 10
        progress.add(1, loss=0.25)
    progress.end_steps()
    assert progress.time_left(0) == "01:20" and progress.time_left(1) == "00:40" and progress.time_left(2) == "00:00"
