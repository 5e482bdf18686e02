"""--weights paintings: a training begins with the backbone of the bundled model, or says why it cannot."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import fitted, make_data, tiny_settings
from small_runs import package, trained_run

from painters_mtl.common.errors import UserError
from painters_mtl.data.dataset import prepare
from painters_mtl.data.seen_works import codes_of
from painters_mtl.data.split_file import save_split
from painters_mtl.inference.open_network import open_network
from painters_mtl.network.backbones import build_backbone
from painters_mtl.network.multitask import backbone_of
from painters_mtl.runs.model_choice import bundled_model
from painters_mtl.runs.run import Run, open_run
from painters_mtl.studies.settings import CompareSettings
from painters_mtl.studies.study import datasets_of_folds
from painters_mtl.train import train
from painters_mtl.training.preflight import check_network
from painters_mtl.training.start_weights import (
    seen_codes,
    weights_file,
    with_known_start,
    with_stored_start,
    with_weights_file,
)


@pytest.fixture
def bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    made = package(trained_run(tmp_path / "bundled"), tmp_path / "_paintings")
    monkeypatch.setattr(bundled_model, "__defaults__", ((made.folder,),))
    return made


def test_a_training_begins_with_the_backbone_of_the_bundled_model(bundled: Run, tmp_path: Path) -> None:
    """Only the heads train, so the backbone of the finished network is the one that it began with."""
    data = make_data(tmp_path / "data", count=60)
    settings = tiny_settings(data, tmp_path, weights="paintings", fine_tune="heads", epochs=1)
    _, _, folder = fitted(settings)
    begun = backbone_of(open_network(open_run(folder))).get_weights()
    for array, wanted in zip(begun, backbone_of(open_network(bundled)).get_weights(), strict=True):
        np.testing.assert_array_equal(array, wanted)
    assert '"weights": "paintings"' in (folder / "config.json").read_text()


def test_weights_of_a_run_are_a_weights_file(tmp_path: Path) -> None:
    run = trained_run(tmp_path / "run", seed=3)
    backbone = build_backbone("small_convnet", 32, run.folder / "weights.npz")
    for array, wanted in zip(backbone.get_weights(), backbone_of(open_network(run)).get_weights(), strict=True):
        np.testing.assert_array_equal(array, wanted)
    with pytest.raises(UserError, match=r"weights\.npz does not fit efficientnet_lite0: it holds no weights of a"):
        build_backbone("efficientnet_lite0", 32, run.folder / "weights.npz")
    (tmp_path / "weights.npz").write_bytes(b"PK nothing")
    with pytest.raises(UserError, match=r"weights\.npz does not fit small_convnet"):
        build_backbone("small_convnet", 32, tmp_path / "weights.npz")


def test_another_backbone_is_refused_before_anything_is_read(bundled: Run, tmp_path: Path) -> None:
    settings = tiny_settings(tmp_path, tmp_path, weights="paintings")
    check_network(settings)
    assert weights_file(settings) == bundled.folder / "weights.npz"
    for name in ("efficientnet_lite0", "ResNet50"):
        other = tiny_settings(tmp_path, tmp_path, weights="paintings", backbone=name)
        with pytest.raises(UserError, match=f"bundled model, small_convnet: leave --backbone {name} out"):
            check_network(other)
    imagenet = tiny_settings(tmp_path, tmp_path, weights="imagenet")
    assert with_weights_file(imagenet) is imagenet and weights_file(imagenet) is None


def test_damaged_weights_are_named(bundled: Run, tmp_path: Path) -> None:
    (bundled.folder / "weights.npz").write_bytes((bundled.folder / "weights.npz").read_bytes()[:-9])
    for word in ("paintings", "auto"):
        with pytest.raises(UserError, match=r"_paintings/weights\.npz is not as it was written"):
            settings = tiny_settings(tmp_path, tmp_path, weights=word)
            check_network(settings)
            seen_codes(settings)


def test_where_no_model_comes_along_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundled_model, "__defaults__", ((),))
    with pytest.raises(UserError, match="--weights paintings: no model is bundled"):
        check_network(tiny_settings(tmp_path, tmp_path, weights="paintings"))


def bundled_knows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, hashes: np.ndarray) -> None:
    """Let a small package be bundled that was trained on paintings with these hashes."""
    folder = tmp_path / "_paintings"
    if not folder.exists():
        package(trained_run(tmp_path / "bundled"), folder, codes=codes_of(hashes))
    monkeypatch.setattr(bundled_model, "__defaults__", ((folder,),))


@pytest.mark.slow
def test_works_that_trained_the_start_are_in_train_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """--weights auto: the bundled model, where no painting of the other parts trained it."""
    data = make_data(tmp_path / "data", count=60)
    settings = tiny_settings(data, tmp_path, weights="auto", epochs=1, baselines=False)
    before = prepare(settings)
    hashes = before.images.hashes[before.images.rows >= 0]
    tested = before.rows("test")[:1]
    bundled_knows(monkeypatch, tmp_path, hashes[tested])
    assert train(settings) == 0
    said, folder = capsys.readouterr().out, settings.models / "run"
    assert "the backbone starts from the bundled model" in said
    assert "1 painting trained the bundled model, as far as pictures tell" in said
    split = pd.read_csv(folder / "split.csv").set_index("id")["split"]
    copies = np.isin(before.groups, before.groups[tested])
    wanted = np.where(copies & np.isin(before.split, ["test", "validation"]), "train", before.split)
    assert split.reindex(before.table["id"]).tolist() == wanted.tolist()
    assert '"weights": "paintings"' in (folder / "config.json").read_text()
    # The same command finds its run again, and each fold keeps these works in train.
    assert train(settings) == 0
    assert "is trained already: reusing it" in capsys.readouterr().out
    changes = {"weights": "paintings", "baselines": True, "folds": 3}
    study = CompareSettings(**(dataclasses.asdict(settings) | changes))
    for fold in datasets_of_folds(prepare(study, seen_codes=seen_codes(study)), study):
        assert set(fold.split[tested]) == {"train"} and len(fold.rows("test")) > 5


def test_where_the_start_knows_too_many_or_the_split_is_given_it_is_imagenets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tiny_settings(make_data(tmp_path / "data", count=60), tmp_path, weights="auto")
    before = prepare(settings)
    hashes = before.images.hashes[before.images.rows >= 0]
    bundled_knows(monkeypatch, tmp_path, hashes[::2])
    data = prepare(settings, seen_codes=seen_codes(settings))
    assert data.split.tolist() == before.split.tolist()
    assert data.seen is not None and data.seen[::2].all()
    capsys.readouterr()
    assert with_known_start(settings, data).weights == "imagenet"
    measured = int((data.seen & (data.split != "train")).sum())
    assert f"from ImageNet's weights: {measured} paintings of the test and validation parts" in capsys.readouterr().out
    # Whoever names the start gets it, and is told.
    named = dataclasses.replace(settings, weights="paintings")
    assert with_known_start(named, data).weights == "paintings"
    assert f"{measured} paintings of the test and validation parts trained the bundled model" in capsys.readouterr().out
    # A split that the user gives is not altered, however few it is about.
    save_split(tmp_path / "split.csv", before.table, before.split, before.tasks)
    few = dataclasses.replace(data, seen=np.arange(len(data.table)) == data.rows("test")[0])
    assert with_known_start(settings, few).weights == "imagenet"
    given = dataclasses.replace(settings, split=tmp_path / "split.csv")
    assert prepare(given, seen_codes=codes_of(hashes[:3])).split.tolist() == before.split.tolist()


@pytest.mark.parametrize("change", [{"backbone": "efficientnet_lite0"}, {"start_from": (Path("models/run"),)}, {}])
def test_auto_is_imagenet_where_the_bundled_model_is_no_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, object]
) -> None:
    """Another backbone, a run to start from, or a package that does not say what trained it."""
    settings = tiny_settings(make_data(tmp_path / "data", count=60), tmp_path, weights="auto")
    data = prepare(settings)
    if change:
        bundled_knows(monkeypatch, tmp_path, data.images.hashes[:0])
    else:
        bundled_model_of = package(trained_run(tmp_path / "bundled"), tmp_path / "_paintings").folder
        monkeypatch.setattr(bundled_model, "__defaults__", ((bundled_model_of,),))
    settings = dataclasses.replace(settings, **change)  # type: ignore[arg-type]
    assert seen_codes(settings) is None
    assert with_known_start(settings, data).weights == "imagenet"


def test_the_demo_starts_from_imagenet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pictures are no paintings."""
    settings = tiny_settings(make_data(tmp_path / "data", count=60), tmp_path, weights="auto")
    data = prepare(settings)
    bundled_knows(monkeypatch, tmp_path, data.images.hashes[:1])
    nobody = np.zeros(len(data.table), bool)
    assert with_known_start(settings, dataclasses.replace(data, seen=nobody)).weights == "paintings"
    assert with_known_start(settings, dataclasses.replace(data, seen=nobody, demo=True)).weights == "imagenet"


@pytest.mark.slow
def test_a_run_goes_on_from_the_start_that_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a run that began from random weights, the same command without --weights finds the same run."""
    data = make_data(tmp_path / "data", count=60)
    settings = tiny_settings(data, tmp_path, weights="none", epochs=1, baselines=False)
    hashes = prepare(settings).images.hashes
    bundled_knows(monkeypatch, tmp_path, hashes[:0])
    assert train(settings) == 0
    auto = dataclasses.replace(settings, weights="auto")
    assert with_stored_start(auto, settings.models / "run").weights == "none"
    assert with_stored_start(dataclasses.replace(auto, overwrite=True), settings.models / "run").weights == "auto"
    capsys.readouterr()
    assert train(auto) == 0
    assert "is trained already: reusing it" in capsys.readouterr().out


def test_a_teacher_that_knows_the_test_paintings_is_said_whatever_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tiny_settings(make_data(tmp_path / "data", count=60), tmp_path, weights="auto", epochs=1)
    before = prepare(settings)
    hashes = before.images.hashes[before.images.rows >= 0]
    bundled_knows(monkeypatch, tmp_path, hashes[before.rows("test")])
    teacher = dataclasses.replace(settings, teachers=(tmp_path / "_paintings",))
    for asked, told in ((settings, False), (teacher, True)):
        with_known_start(asked, dataclasses.replace(before, seen=before.split == "test"))
        assert ("its start or its teachers from there: test results are too good" in capsys.readouterr().out) is told


def test_runs_that_descend_from_the_model_are_not_tested_on_its_works_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By --start-from, by --teachers and by a weights file, also at second hand."""
    settings = tiny_settings(make_data(tmp_path / "data", count=60), tmp_path, weights="none", epochs=1)
    before = prepare(settings)
    tested = before.rows("test")[:1]
    hashes = before.images.hashes[before.images.rows >= 0]
    bundled_knows(monkeypatch, tmp_path, hashes[tested])
    for name, stored in (
        ("child", {"weights": "paintings"}),
        ("grandchild", {"weights": "imagenet", "start_from": [str(tmp_path / "child")]}),
        ("stranger", {"weights": "imagenet", "start_from": [str(tmp_path / "stranger")]}),
        ("relative", {"weights": "imagenet", "teachers": [f"{tmp_path.name}/child"]}),  # called one folder above
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(stored))
        (tmp_path / name / "weights.npz").touch()

    def known(**changes: object) -> bool:
        changed = dataclasses.replace(settings, **changes)  # type: ignore[arg-type]
        codes = seen_codes(changed)
        if codes is not None:
            data = prepare(changed, seen_codes=codes)
            assert set(data.split[tested]) == {"train"}
            assert with_known_start(changed, data).weights == changed.weights
        return codes is not None

    assert not known()
    for name, wanted in (("child", True), ("grandchild", True), ("stranger", False), ("relative", True)):
        folder = tmp_path / name
        assert known(start_from=(folder,)) is wanted
        assert known(teachers=(folder,)) is wanted
        assert known(weights=str(folder / "weights.npz")) is wanted
    assert known(weights=str(tmp_path / "_paintings" / "weights.npz"))


def test_seen_works_stay_where_a_task_would_lose_its_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fifth of the paintings, and every test work with a genre: then the start is ImageNet's."""
    settings = tiny_settings(make_data(tmp_path / "data", count=60), tmp_path, weights="auto")
    before = prepare(settings)
    with_genre = before.labels["genre"] >= 0
    tested = np.flatnonzero((before.split == "test") & with_genre)
    assert 0 < len(tested) <= 12
    hashes = before.images.hashes[before.images.rows >= 0]
    bundled_knows(monkeypatch, tmp_path, hashes[tested])
    data = prepare(settings, seen_codes=seen_codes(settings))
    assert data.split.tolist() == before.split.tolist()
    assert with_known_start(settings, data).weights == "imagenet"
    # Folds test every other painting, so a few seen ones do not speak against the start.
    assert with_known_start(settings, data, folds=True).weights == "paintings"
    many = dataclasses.replace(data, seen=np.arange(len(data.table)) % 3 == 0)
    assert with_known_start(settings, many, folds=True).weights == "imagenet"
