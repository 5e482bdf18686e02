"""Two views of a painting through one backbone, and a data set of its own for a task."""

import dataclasses
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import fitted, make_data, read_rows, small_network, tiny_settings
from PIL import Image

from painters_mtl import predict
from painters_mtl.common.errors import UserError
from painters_mtl.data.dataset import prepare
from painters_mtl.data.tasks import TASK_NAMES, Task
from painters_mtl.images import decode
from painters_mtl.images import files as images
from painters_mtl.images.decode import cached_image
from painters_mtl.network.batchnorm_folding import fold_batchnorm
from painters_mtl.network.features import cached_features
from painters_mtl.network.forward import center_crops
from painters_mtl.network.multitask import heads_model, with_heads
from painters_mtl.runs import run
from painters_mtl.training.settings import TrainSettings

TASKS = {name: Task(name, tuple("abc")) for name in ("painter", "style", "genre")}
VIEWS = ("whole", "detail")
LAYERS = {"shared_layers": (6,), "task_layers": (5,), "fine_tune": "all", "dropout": 0.0}


def network(merge: str, backbone: str = "small_convnet") -> keras.Model:
    keras.utils.set_random_seed(0)
    view_of = {"painter": "detail"} if merge == "none" else {}
    weights = "none" if backbone == "small_convnet" else "imagenet"
    return small_network(TASKS, backbone, **LAYERS, weights=weights, views=VIEWS, merge=merge, view_of=view_of)


def pictures(seed: int = 0) -> dict[str, tf.Tensor]:
    rng = np.random.default_rng(seed)
    return {name: tf.constant(rng.uniform(0, 255, (4, 32, 32, 3)), tf.float32) for name in ("image", "detail")}


@pytest.mark.parametrize("merge", ["concatenate", "none"])
@pytest.mark.parametrize("backbone", ["small_convnet", pytest.param("efficientnet_lite0", marks=pytest.mark.slow)])
def test_which_view_moves_which_head(merge: str, backbone: str) -> None:
    """By gradients: with concatenate every head follows both views; with none it follows its own, and not at all the
    other. Either way each head moves the one backbone."""
    model = network(merge, backbone)
    assert len([layer for layer in model.layers if isinstance(layer, keras.Model)]) == 1
    for candidate in (model, fold_batchnorm(model)):
        seen = pictures()
        for name in TASKS:
            with tf.GradientTape() as tape:
                for view in seen.values():
                    tape.watch(view)
                loss = tf.reduce_mean(tf.math.log(candidate(seen, training=False)[name][:, 0]))
            kernel = next(v.value for v in model.trainable_variables if "conv" in v.path)
            found = tape.gradient(loss, [seen["image"], seen["detail"], kernel], unconnected_gradients="zero")
            whole, detail, backbone_gradient = (float(tf.reduce_max(tf.abs(g))) for g in found)
            assert (whole > 0) == (merge == "concatenate" or name != "painter")
            assert (detail > 0) == (merge == "concatenate" or name == "painter")
            assert backbone_gradient > 0


def test_both_views_pass_through_the_same_weights() -> None:
    """With merge none, a head that is moved to the other view says of it what it said of its own."""
    model = network("none")
    seen = pictures()
    swapped = {"image": seen["detail"], "detail": seen["image"]}
    keras.utils.set_random_seed(0)
    other = small_network(TASKS, **LAYERS, views=VIEWS, merge="none")
    other.set_weights(model.get_weights())
    np.testing.assert_allclose(model(seen)["painter"], other(swapped)["painter"], rtol=1e-5)
    single = small_network(TASKS, **LAYERS)
    single.set_weights(model.get_weights())
    np.testing.assert_allclose(model(seen)["style"], single(seen["image"])["style"], rtol=1e-5)


def test_parts_of_a_network_with_two_views() -> None:
    model = network("none")
    heads = heads_model(with_heads(model, {"painter": TASKS["painter"]}))
    features = keras.Model(model.input, model.get_layer("features").output)(pictures())
    np.testing.assert_allclose(heads(features)["painter"], model(pictures())["painter"], rtol=1e-5)


def test_the_middle_is_at_the_picture_s_own_resolution() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8)
    np.testing.assert_array_equal(decode.middle(pixels, 40), pixels[25:65, 15:55])
    np.testing.assert_array_equal(decode.middle(pixels, 70), pixels[10:80])
    enlarged = decode.middle(pixels, 140)
    wanted = np.asarray(Image.fromarray(pixels).resize((140, 180), Image.Resampling.BICUBIC))[20:160]
    np.testing.assert_array_equal(enlarged, wanted)


def test_the_network_sees_the_detail_pixel_for_pixel(tmp_path: Path) -> None:
    """A ramp of one grey level a pixel: the view must rise by one a pixel, around the middle."""
    ramp = np.broadcast_to(np.arange(160, dtype=np.uint8)[:, None], (200, 160, 3))
    Image.fromarray(ramp).save(tmp_path / "a.png")
    picture, copy = cached_image((tmp_path / "a.png").read_bytes(), 40, VIEWS)
    assert copy.shape == (2, 40, 40, 3) and (picture.width, picture.height) == (160, 200)
    np.testing.assert_array_equal(copy[0], images.load_image(tmp_path / "a.png", square=40).pixels)
    seen = center_crops(tf.constant(copy[None, 1]), 32).numpy()[0]
    np.testing.assert_allclose(seen[..., 0], np.tile(79.5 + np.arange(32) - 15.5, (32, 1)), atol=0.2)


@pytest.mark.slow
@pytest.mark.parametrize("merge", ["concatenate", "none"])
def test_a_training_with_two_views_learns_and_predicts(merge: str, tmp_path: Path) -> None:
    view_of = {"painter": "detail"} if merge == "none" else {}
    settings = tiny_settings(make_data(tmp_path / "data"), tmp_path, views=VIEWS, merge=merge, view_of=view_of)
    data, outcome, folder = fitted(settings)
    assert data.images.pixels.shape[1:] == (2, 40, 40, 3)
    for name, m in outcome.metrics["test"].items():
        assert m["accuracy"] > 0.75, name
    assert TrainSettings.load(folder / "config.json") == settings
    assert run.open_run(folder).views == VIEWS
    out = tmp_path / "p.csv"
    assert predict.main([str(tmp_path / "data" / "images"), "--model", str(folder), "--output", str(out)]) == 0
    said = {Path(r["path"]).name: r for r in read_rows(out)}
    for row in read_rows(folder / "test_predictions.csv"):
        mine = said[Path(row["id"]).name]
        assert mine["style"] == row["style"]
        assert float(mine["style_confidence"]) == pytest.approx(float(row["style_confidence"]), abs=2e-3)


@pytest.mark.slow
def test_heads_on_cached_features_of_two_views(tmp_path: Path) -> None:
    settings = tiny_settings(make_data(tmp_path / "data", 80), tmp_path, views=VIEWS, fine_tune="heads", epochs=1)
    data, _, folder = fitted(settings)
    features = cached_features(run.open_run(folder).model(), data, 32)
    assert features.shape == (len(data.table), 2, 128)
    assert len(list(settings.cache.glob("features-*.sqlite"))) == 1  # the training's


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"views": ("detail",)}, "--views detail cannot be"),
        ({"views": ("detail", "whole")}, "--views detail,whole cannot be"),
        ({"views": VIEWS, "view_of": {"painter": "detail"}}, "--view-of needs --merge none"),
        ({"merge": "none", "view_of": {"painter": "detail"}}, "--view-of painter detail"),
        ({"task_data": {"painters": Path("x")}}, "--task-data painters is unknown"),
    ],
)
def test_views_that_cannot_be(changes: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        TrainSettings(**changes)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------- data of a task's own


def test_a_task_learns_from_its_own_folder(tmp_path: Path) -> None:
    main, other = make_data(tmp_path / "main", 120), make_data(tmp_path / "other", 90, seed=5)
    settings = tiny_settings(main, tmp_path, task_data={"painter": other})
    data = prepare(settings)
    mine = data.table["id"].str.startswith("painter:").to_numpy()
    assert mine.sum() == sum(r["painter"] != "" for r in read_rows(other / "labels.csv"))
    assert (data.labels["painter"][~mine] == -1).all() and (data.labels["painter"][mine] >= 0).sum() > 40
    for name in ("style", "genre"):
        assert (data.labels[name][mine] == -1).all() and (data.labels[name][~mine] >= 0).sum() > 80
    rows = {f"painter:{r['filename']}": r["painter"] for r in read_rows(other / "labels.csv")}
    for name, painter in zip(data.table["id"][mine], data.table["painter"][mine], strict=True):
        assert rows[name] == painter
    all_own = dataclasses.replace(settings, data=None, task_data={"painter": other, "style": main, "genre": main})
    assert not prepare(all_own).demo


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["joint", "alternate"])
def test_tasks_with_data_of_their_own_learn_together(strategy: str, tmp_path: Path) -> None:
    main, other = make_data(tmp_path / "main", 120), make_data(tmp_path / "other", 90, seed=5)
    settings = tiny_settings(main, tmp_path, task_data={"painter": other}, strategy=strategy)
    _, outcome, _ = fitted(dataclasses.replace(settings, epochs=2 * settings.epochs))
    shares = outcome.metrics.get("turns", {})
    assert strategy == "joint" or (set(shares) == set(TASK_NAMES) and all(t["share"] > 0.1 for t in shares.values()))
    for name, wanted in (("painter", 0.6), ("style", 0.6), ("genre", 0.7)):  # by chance: 1 / 3, 1 / 3, 1 / 2
        assert outcome.metrics["test"][name]["accuracy"] > wanted, name


def test_a_task_s_folder_without_its_label_is_named(tmp_path: Path) -> None:
    main = make_data(tmp_path / "main", 60)
    other = make_data(tmp_path / "other", 10)
    table = (other / "labels.csv").read_text().splitlines()
    (other / "labels.csv").write_text("\n".join([table[0], 'images/000.png,,Dots,portrait,"t",']) + "\n")
    with pytest.raises(UserError, match="no painting there has a painter"):
        prepare(tiny_settings(main, tmp_path, task_data={"painter": other}))
    with pytest.raises(UserError, match="no such folder; give --task-data painter= the folder"):
        prepare(tiny_settings(main, tmp_path, task_data={"painter": tmp_path / "nowhere"}))
