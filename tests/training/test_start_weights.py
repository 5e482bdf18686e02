"""--weights paintings: a training begins with the backbone of the model that comes along, or says why it cannot."""

from pathlib import Path

import numpy as np
import pytest
from helpers import fitted, make_data, tiny_settings
from small_runs import package, trained_run

from painters_mtl.common.errors import UserError
from painters_mtl.inference.open_network import open_network
from painters_mtl.network.backbones import build_backbone
from painters_mtl.network.multitask import backbone_of
from painters_mtl.runs.model_choice import shipped_model
from painters_mtl.runs.run import Run, open_run
from painters_mtl.training.preflight import check_network
from painters_mtl.training.start_weights import weights_file, with_weights_file


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    made = package(trained_run(tmp_path / "shipped"), tmp_path / "_paintings")
    monkeypatch.setattr(shipped_model, "__defaults__", ((made.folder,),))
    return made


def test_a_training_begins_with_the_backbone_of_the_model_that_comes_along(shipped: Run, tmp_path: Path) -> None:
    """Only the heads train, so the backbone of the finished network is the one that it began with."""
    data = make_data(tmp_path / "data", count=60)
    settings = tiny_settings(data, tmp_path, weights="paintings", fine_tune="heads", epochs=1)
    _, _, folder = fitted(settings)
    begun = backbone_of(open_network(open_run(folder))).get_weights()
    for array, wanted in zip(begun, backbone_of(open_network(shipped)).get_weights(), strict=True):
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


def test_another_backbone_is_refused_before_anything_is_read(
    shipped: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tiny_settings(tmp_path, tmp_path, weights="paintings")
    check_network(settings)
    assert "test results on those works are too good" in capsys.readouterr().out
    assert weights_file(settings) == shipped.folder / "weights.npz"
    for name in ("efficientnet_lite0", "ResNet50"):
        other = tiny_settings(tmp_path, tmp_path, weights="paintings", backbone=name)
        with pytest.raises(UserError, match=f"comes along, small_convnet: leave --backbone {name} out"):
            check_network(other)
    imagenet = tiny_settings(tmp_path, tmp_path, weights="imagenet")
    assert with_weights_file(imagenet) is imagenet and weights_file(imagenet) is None


def test_damaged_weights_are_named(shipped: Run, tmp_path: Path) -> None:
    (shipped.folder / "weights.npz").write_bytes((shipped.folder / "weights.npz").read_bytes()[:-9])
    with pytest.raises(UserError, match=r"_paintings/weights\.npz is not as it was written"):
        check_network(tiny_settings(tmp_path, tmp_path, weights="paintings"))


def test_where_no_model_comes_along_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped_model, "__defaults__", ((),))
    with pytest.raises(UserError, match="--weights paintings: no model comes along"):
        check_network(tiny_settings(tmp_path, tmp_path, weights="paintings"))
