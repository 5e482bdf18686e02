"""Run folders: they come back as they were saved, and say what they lack or what was changed."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from small_runs import TASKS, make_run

from painters_mtl.common.errors import UserError
from painters_mtl.runs import run as runs


def test_a_run_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    model = make_run(tmp_path / "models" / "a")
    run = runs.open_run(tmp_path / "models" / "a")
    assert (run.folder, run.tasks) == (tmp_path / "models" / "a", TASKS)
    assert list(run.tasks) == ["painter", "genre"]
    assert (run.image_size, run.cache_side, run.demo) == (32, 40, True)
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    for name, wanted in model(images, training=False).items():
        np.testing.assert_array_equal(np.asarray(run.model()(images, training=False)[name]), np.asarray(wanted))
    assert sorted(f.name for f in run.folder.iterdir()) == ["labels.json", "model.keras"]


def test_a_run_can_be_moved(tmp_path: Path) -> None:
    make_run(tmp_path / "models" / "a")
    shutil.move(tmp_path / "models" / "a", tmp_path / "elsewhere")
    assert runs.open_run(tmp_path / "elsewhere").model().output.keys() == TASKS.keys()


def test_a_run_that_lacks_something_says_what(tmp_path: Path) -> None:
    make_run(tmp_path / "a")
    with pytest.raises(UserError, match=r"aa is not a folder; there are a"):
        runs.open_run(tmp_path / "aa")
    for name in ("labels.json", "model.keras"):
        kept = (tmp_path / "a" / name).read_bytes()
        (tmp_path / "a" / name).unlink()
        with pytest.raises(UserError, match=f"a lacks {name}"):
            runs.open_run(tmp_path / "a")
        (tmp_path / "a" / name).write_bytes(kept)
    assert runs.open_run(tmp_path / "a").tasks == TASKS


@pytest.mark.parametrize("change", ["swapped names", "a threshold", "no checksum of the model"])
def test_labels_that_were_changed_are_refused(change: str, tmp_path: Path) -> None:
    make_run(tmp_path / "a")
    runs.save_labels(tmp_path / "a", TASKS, 32, 40, demo=True, thresholds={"painter": 0.25})
    assert runs.open_run(tmp_path / "a").tasks == TASKS
    labels = json.loads((tmp_path / "a" / "labels.json").read_text())
    if change == "swapped names":
        labels["classes"]["painter"].reverse()
    elif change == "a threshold":
        labels["thresholds"]["painter"] = 0.2500001
    else:
        del labels["model_checksum"]
    (tmp_path / "a" / "labels.json").write_text(json.dumps(labels))
    with pytest.raises(UserError, match=r"labels\.json is not as the training wrote it"):
        runs.open_run(tmp_path / "a")


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", '"text"', "{}", '{"classes": {"style": ["a"]}}', '{"classes": [1], "image_size": 32}',
        '{"classes": {"style": ["a", "b"]}, "image_size": "big", "copy_side": 40}',
        '{"classes": {"style": ["a", "b"]}, "image_size": null, "copy_side": 40}',
    ],
)  # fmt: skip
def test_damaged_labels_are_one_sentence(text: str, tmp_path: Path) -> None:
    (tmp_path / "model.keras").touch()
    (tmp_path / "labels.json").write_text(text)
    with pytest.raises(UserError, match=r"labels\.json is damaged") as error:
        runs.open_run(tmp_path)
    assert "\n" not in str(error.value)


def test_labels_that_are_not_text_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "model.keras").touch()
    (tmp_path / "labels.json").write_bytes(b"\xff\xfe\x00{")
    with pytest.raises(UserError, match=r"labels\.json is damaged"):
        runs.open_run(tmp_path)


def test_a_finished_model_that_was_changed_is_refused(tmp_path: Path) -> None:
    """The last bit of one weight: nothing but the checksum could tell."""
    make_run(tmp_path / "a")
    runs.save_labels(tmp_path / "a", TASKS, 32, 40, demo=True, thresholds={"painter": 0.25})
    run = runs.open_run(tmp_path / "a")
    assert run.thresholds == {"painter": 0.25} and run.model().count_params() > 0
    other = runs.open_run(tmp_path / "a").model()
    kernel = other.get_layer("genre").get_weights()
    kernel[0].flat[0] = np.nextafter(kernel[0].flat[0], 1)
    other.get_layer("genre").set_weights(kernel)
    runs.save_model(other, tmp_path / "a")
    with pytest.raises(UserError, match=r"model\.keras is not the one that the training wrote"):
        runs.open_run(tmp_path / "a").model()
