"""Settings that survive a file, and refuse what cannot work by the name of the option."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from painters_mtl.common.errors import UserError
from painters_mtl.data.settings import DataSettings
from painters_mtl.data.tasks import TASK_NAMES
from painters_mtl.network.settings import NetworkSettings
from painters_mtl.training.settings import TrainSettings

OTHER: dict[str, Any] = {
    "table": Path("labels.tsv"),
    "columns": {"painter": "maker"},
    "tasks": ("painter", "style", "genre", "school"),
    "classes": {"school": "3"},
    "data": Path("some where/ä"),
    "split": Path("models/x/split.csv"),
    "painters": ("Ivan Bilibin", 'A "B", C'),
    "styles": ("4",),
    "genres": ("portrait", "landscape"),
    "image_size": 160,
    "cache": Path("/tmp/c"),
    "memory_gb": 0.5,
    "name": "näme",
    "models": Path("m"),
    "overwrite": True,
    "seed": 7,
    "backbone": "ResNet50",
    "weights": "none",
    "fine_tune": "heads",
    "shared_layers": (64, 32),
    "task_layers": (16,),
    "dropout": 0.0,
    "epochs": 3,
    "batch_size": 5,
    "learning_rate": 0.01,
    "sample": 7,
    "backbone_rate": 0.2,
    "label_smoothing": 0.2,
    "task_data": {"style": Path("styles")},
    "views": ("whole", "detail"),
    "merge": "none",
    "view_of": {"painter": "detail"},
    "shared_projection": 8,
    "start_from": (Path("models/a"), Path("models/b")),
    "start_shared": "style",
    "freeze": "heads",
    "freeze_epochs": 2,
    "teachers": (Path("t"),),
    "teacher_weight": 0.7,
    "teacher_schedule": "annealed",
    "temperature": 3.0,
    "strategy": "pcgrad",
    "task_sampling": "uniform",
    "monitor_conflict": True,
    "baselines": False,
    "budget": "equal-updates",
    "weight_decay": 0.0,
    "quality": "best",
    "task_weights": {"style": 0.5, "painter": 2.0},
    "label_share": 0.0,
    "other_painters": 0.0,
    "painter_known": False,
    "refit": False,
    "patience": 9,
    "accumulate": 3,
    "precision": "mixed_bfloat16",
}


def test_what_was_a_weight_is_now_on_or_off() -> None:
    for old, new in ((1.0, True), (0.3, True), (0.0, False)):
        assert TrainSettings.from_dict({"painter_known": old}).painter_known is new


def test_settings_round_trip(tmp_path: Path) -> None:
    default = TrainSettings()
    other = TrainSettings(**OTHER)
    fields = {f.name for f in dataclasses.fields(TrainSettings)}
    assert {*OTHER, "folders", "mix", "color", "distill", "teacher_view"} == fields - TrainSettings.NOT_STORED, (
        "a new setting: add it to OTHER"
    )
    for name, value in OTHER.items():
        assert getattr(default, name) != value, f"{name} must differ from its default to be tested"
    of_folders = TrainSettings(folders="style/painter")  # folders and a table exclude each other
    one_view = TrainSettings(
        mix=0.3, color=0.1, distill=True, teacher_view="crop"
    )  # two views, a budget or teachers exclude these
    for settings in (default, other, of_folders, one_view):
        settings.save(tmp_path / "config.json")
        loaded = TrainSettings.load(tmp_path / "config.json")
        assert loaded == settings
        for field in dataclasses.fields(settings):
            assert type(getattr(loaded, field.name)) is type(getattr(settings, field.name)), field.name


def test_a_setting_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"seed": 1, "learing_rate": 0.1}')
    with pytest.raises(UserError, match=r"config\.json has a setting that does not exist: learing_rate"):
        TrainSettings.load(tmp_path / "config.json")


def test_how_a_command_runs_is_no_part_of_what_it_made(tmp_path: Path) -> None:
    TrainSettings(checkpoint_minutes=1.0, resume=True).save(tmp_path / "config.json")
    assert TrainSettings.load(tmp_path / "config.json") == TrainSettings()


def test_a_partial_file_leaves_the_rest_at_its_default() -> None:
    assert TrainSettings.from_dict({"seed": 3}) == TrainSettings(seed=3)


@pytest.mark.parametrize(
    ("name", "value", "option"),
    [
        ("image_size", 31, "--image-size 31"),
        ("image_size", -5, "--image-size -5"),
        ("batch_size", -1, "--batch-size -1"),
        ("learning_rate", -0.1, "--learning-rate -0.1"),
        ("seed", -1, "--seed -1"),
        ("seed", 2**32, "--seed 4294967296"),
        ("task_weights", dict.fromkeys(TASK_NAMES, 0.0), "--task-weights of 0 for every task"),
        ("learning_rate", float("nan"), "--learning-rate nan"),
        ("backbone_rate", 0.0, "--backbone-rate 0.0"),
        ("patience", 0, "--patience 0"),
        ("accumulate", 0, "--accumulate 0"),
        ("checkpoint_minutes", -1.0, "--checkpoint-minutes -1.0"),
        ("memory_gb", 0, "--memory-gb 0"),
        ("epochs", -1, "--epochs -1"),
        ("dropout", 1.0, "--dropout 1.0"),
        ("dropout", -0.1, "--dropout -0.1"),
        ("label_share", 1.0, "--label-share 1.0"),
        ("shared_layers", (8, 0), "width 0"),
        ("task_layers", (-3,), "width -3"),
        ("task_weights", {"artist": 1.0}, "--task-weights artist"),
        ("task_weights", {"style": -1.0}, "--task-weights style -1.0"),
        ("task_weights", {"style": float("nan")}, "--task-weights style nan"),
        ("merge", "none", "--merge none needs two views"),
        ("freeze_epochs", 3, "--freeze-epochs 3"),
        ("freeze", "Backbone", "--freeze Backbone is unknown: none, backbone or heads"),
        ("fine_tune", "bottom", "--fine-tune bottom is unknown: heads, top or all"),
        ("strategy", "pcgard", "--strategy pcgard is unknown: joint, alternate,"),
        ("batch_size", 2.5, "--batch-size 2.5 must be a whole number"),
        ("name", "..", "--name '..'"),
        ("name", "a/b", "--name 'a/b'"),
        ("name", ".hidden", "--name '.hidden'"),
        ("name", "a\0b", "--name"),
    ],
)
def test_values_that_cannot_work_are_refused_by_their_option(name: str, value: Any, option: str) -> None:
    with pytest.raises(UserError) as error:
        TrainSettings(**{name: value})
    assert option in str(error.value)


def test_freezing_for_the_whole_training_is_not_freezing_for_some_epochs() -> None:
    for epochs, frozen in ((3, 2), (0, 2), (3, 0)):  # 0 epochs: as many as the data ask for
        assert TrainSettings(epochs=epochs, freeze="backbone", freeze_epochs=frozen).freeze_epochs == frozen
    for epochs in (1, 2):
        with pytest.raises(UserError, match=f"--freeze-epochs 2 is the whole training of {epochs} epochs"):
            TrainSettings(epochs=epochs, freeze="backbone", freeze_epochs=2)


def test_a_strategy_needs_shared_weights_that_train() -> None:
    with pytest.raises(
        UserError, match="--strategy pcgrad has nothing to do with a backbone that is frozen to the end"
    ):
        TrainSettings(strategy="pcgrad", freeze="backbone")
    assert TrainSettings(strategy="pcgrad", freeze="backbone", freeze_epochs=2).freeze_epochs == 2
    assert TrainSettings(freeze="backbone").freeze == "backbone"


def test_requested_classes_are_a_number_or_names() -> None:
    settings = TrainSettings(painters=("12",), styles=("Cubism",), genres=("portrait", "1920"))
    assert settings.requested_classes() == {"painter": 12, "style": ("Cubism",), "genre": ("portrait", "1920")}


def test_a_part_of_the_settings_is_read_from_the_file_of_all(tmp_path: Path) -> None:
    """Every setting of the data and of the network is one of a training's, and comes back with its value."""
    whole = TrainSettings(**OTHER)
    whole.save(tmp_path / "config.json")
    for part in (DataSettings, NetworkSettings):
        loaded = part.load(tmp_path / "config.json", ignore_others=True)
        assert dataclasses.asdict(loaded) == {
            field.name: getattr(whole, field.name) for field in dataclasses.fields(part)
        }
        with pytest.raises(UserError, match=r"config\.json has a setting that does not exist"):
            part.load(tmp_path / "config.json")


@pytest.mark.parametrize(
    ("backbone", "weights", "pretrained"),
    [
        ("small_convnet", "auto", False),  # nobody trained it on ImageNet
        ("small_convnet", "models/a/weights.npz", True),
        ("efficientnet_lite0", "auto", True),
        ("efficientnet_lite0", "none", False),
    ],
)
def test_a_backbone_is_pretrained_where_it_has_weights_from_elsewhere(
    backbone: str, weights: str, pretrained: bool
) -> None:
    assert TrainSettings(backbone=backbone, weights=weights).starts_pretrained() is pretrained
