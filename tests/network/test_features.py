"""Cached features: those of the network and the pictures that are asked for, whatever the cache held before."""

import contextlib
import dataclasses
import random
import sqlite3
import time
from pathlib import Path

import keras
import numpy as np
import pytest
from helpers import arguments, fitted, largest_file, make_data, tiny_settings
from PIL import Image
from stopped import KILLS, same_run, start

from painters_mtl.common.errors import UserError
from painters_mtl.common.row_cache import RowCache
from painters_mtl.data.dataset import Dataset, prepare
from painters_mtl.images.fingerprints import phash
from painters_mtl.network.backbones import build_backbone
from painters_mtl.network.features import cached_features, layer_configuration
from painters_mtl.network.forward import forward_function
from painters_mtl.network.multitask import build_model, features_model, with_multi_scale_heads
from painters_mtl.training.settings import TrainSettings

SIZE = 32


@pytest.fixture
def settings(tmp_path: Path) -> TrainSettings:
    return tiny_settings(make_data(tmp_path / "data", count=150), tmp_path)


@pytest.fixture
def data(settings: TrainSettings) -> Dataset:
    return prepare(settings)


def network(data: Dataset, settings: TrainSettings) -> keras.Model:
    keras.utils.set_random_seed(0)
    return build_model(data.tasks, settings)


def direct(model: keras.Model, data: Dataset) -> np.ndarray:
    """The features by the network itself."""
    forward, images = forward_function(features_model(model), SIZE), data.images.pixels[data.image_rows]
    return np.stack([forward(images), forward(images[:, :, ::-1])], axis=1)


def test_networks_with_the_same_weights_and_other_outputs_have_other_features(
    data: Dataset, settings: TrainSettings
) -> None:
    """With and without --no-refit: the same backbone, read from its last map or from all pyramid maps."""
    plain = network(data, settings)
    multi_scale = with_multi_scale_heads(plain, data.tasks, settings)
    narrow, wide = cached_features(plain, data, SIZE), cached_features(multi_scale, data, SIZE)
    assert narrow.shape == (150, 2, 64) and wide.shape == (150, 2, 64 + 16 + 24 + 32)
    np.testing.assert_allclose(narrow, direct(plain, data), atol=1e-6)
    np.testing.assert_allclose(wide, direct(multi_scale, data), atol=1e-6)
    np.testing.assert_array_equal(cached_features(plain, data, SIZE), narrow)
    assert len(list(settings.cache.glob("features-*.sqlite"))) == 2


def test_paintings_that_nobody_asks_for_are_not_computed(data: Dataset, settings: TrainSettings) -> None:
    model, wanted = network(data, settings), np.array([140, 3, 77])
    some = cached_features(model, data, SIZE, wanted)
    np.testing.assert_allclose(some, direct(model, data)[wanted], atol=1e-6)
    (file,) = settings.cache.glob("features-*.sqlite")
    with contextlib.closing(sqlite3.connect(file)) as rows:
        assert rows.execute("select count(*) from rows").fetchone() == (3,)
    np.testing.assert_array_equal(cached_features(model, data, SIZE)[wanted], some)


def test_a_small_change_of_a_picture_changes_its_features(data: Dataset, settings: TrainSettings) -> None:
    """Its perceptual hash stays, for that is made to ignore such changes."""
    assert settings.data is not None
    model, file = network(data, settings), settings.data / "images" / "007.png"
    before = cached_features(model, data, SIZE)
    pixels = np.asarray(Image.open(file)).copy()
    pixels[::2] += 6
    assert phash(pixels) == phash(np.asarray(Image.open(file)))
    Image.fromarray(pixels).save(file)
    again = prepare(settings)
    np.testing.assert_array_equal(again.images.hashes, data.images.hashes)
    after = cached_features(model, again, SIZE)
    changed = np.flatnonzero((after != before).any(axis=(1, 2)))
    assert [Path(again.table["file"][row]).name for row in changed] == ["007.png"]
    np.testing.assert_allclose(after, direct(model, again), atol=1e-6)


def test_other_sizes_and_weights_have_features_of_their_own(data: Dataset, settings: TrainSettings) -> None:
    model = network(data, settings)
    first, larger = cached_features(model, data, SIZE), cached_features(model, data, 40)
    assert (first != larger).any()
    kernel = model.get_layer("small_convnet").get_layer("conv4")
    kernel.set_weights([np.nextafter(w, 1) for w in kernel.get_weights()])
    cached_features(model, data, SIZE)
    assert len(list(settings.cache.glob("features-*.sqlite"))) == 3


def test_heads_and_what_trains_do_not_matter(data: Dataset, settings: TrainSettings) -> None:
    """The networks of a comparison read the same features."""
    cached_features(network(data, settings), data, SIZE)
    for changes in ({"fine_tune": "heads"}, {"task_layers": (7,), "dropout": 0.5}):
        cached_features(network(data, dataclasses.replace(settings, **changes)), data, SIZE)
    assert len(list(settings.cache.glob("features-*.sqlite"))) == 1


def test_networks_built_one_after_the_other_have_the_same_configuration() -> None:
    """Keras numbers layers without a name anew in each."""
    one, other = (build_backbone("MobileNetV2", 32, "none") for _ in range(2))
    assert list(layer_configuration(one)) == list(layer_configuration(other))
    assert list(layer_configuration(one)) != list(layer_configuration(build_backbone("VGG16", 32, "none")))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.85])
def test_features_go_on_behind_a_full_disk(data: Dataset, settings: TrainSettings, share: float) -> None:
    model = network(data, settings)
    features = cached_features(model, data, SIZE)
    (file,) = settings.cache.glob("features-*.sqlite")
    size = file.stat().st_size
    file.unlink()
    with largest_file(int(share * size)), pytest.raises(UserError, match="--cache"):
        cached_features(model, data, SIZE)
    np.testing.assert_array_equal(cached_features(model, data, SIZE), features)


def test_what_is_in_the_cache_is_not_computed_again(
    data: Dataset, settings: TrainSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows of zeros are believed; the rest is as it was, to the bit, though other paintings were beside it."""
    model = network(data, settings)
    features = cached_features(model, data, SIZE)
    (file,) = settings.cache.glob("features-*.sqlite")
    cache = RowCache(settings.cache, file.stem.removeprefix("features-"))
    file.unlink()
    zeros = np.random.default_rng(0).choice(150, 40, replace=False)
    contents = dict(zip(data.images.rows.tolist(), data.images.contents.tolist(), strict=True))
    cache.write({contents[data.image_rows[row]]: np.zeros(128, np.float32) for row in zeros})
    capsys.readouterr()
    again = cached_features(model, data, SIZE)
    assert "read the features" not in capsys.readouterr().out
    kept = np.setdiff1d(np.arange(150), zeros)
    assert not again[zeros].any()
    np.testing.assert_array_equal(again[kept], features[kept])
    cached_features(model, data, SIZE)
    assert "read the features of 150 paintings" in capsys.readouterr().out


@pytest.mark.slow
def test_killed_while_features_are_computed(tmp_path: Path) -> None:
    settings = tiny_settings(make_data(tmp_path / "data", count=300), tmp_path, fine_tune="heads", epochs=2)
    settings = dataclasses.replace(settings, baselines=False)
    rng = random.Random(5)
    for kill in range(KILLS):
        process = start("-m", "painters_mtl.train", *arguments(settings))
        deadline = time.monotonic() + 200
        while process.poll() is None and not list(tmp_path.rglob("features-*.sqlite")):
            assert time.monotonic() < deadline
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.1) * (kill > 0))  # the first one leaves a part, however fast the machine
        process.kill()
        process.communicate(timeout=60)
    fitted(settings)
    fitted(dataclasses.replace(settings, name="whole", cache=tmp_path / "other"))
    one, other = (next((tmp_path / name).glob("features-*.sqlite")) for name in ("cache", "other"))
    assert one.name == other.name
    same_run(settings.models / "run", settings.models / "whole")
