"""The network behind the page says what `predict` says, and keeps little of what it was given."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import pytest
from helpers import python
from PIL import Image
from small_runs import package, trained_run

from painters_mtl.common.errors import Unreadable
from painters_mtl.images.files import ImageFile
from painters_mtl.inference import open_network
from painters_mtl.inference.embeddings import compute
from painters_mtl.inference.litert_template import drawn_images
from painters_mtl.inference.predictor import label
from painters_mtl.page.limits import SHOWN_SIDE
from painters_mtl.page.model import PageModel
from painters_mtl.runs.run import Run


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> PageModel:
    return PageModel(trained_run(tmp_path_factory.mktemp("models") / "small"))


@pytest.fixture(scope="module")
def painting(tmp_path_factory: pytest.TempPathFactory) -> ImageFile:
    file = tmp_path_factory.mktemp("paintings") / "lilies.png"
    pixels = np.random.default_rng(3).integers(0, 256, (9, 14, 3), np.uint8).repeat(100, 0).repeat(100, 1)
    Image.fromarray(pixels).save(file)
    return ImageFile(str(file))


def test_it_says_what_predict_says(model: PageModel, painting: ImageFile) -> None:
    labelled = model.look(painting)
    (wanted,) = label(model.run, [painting])
    assert wanted.probabilities is not None and labelled.prediction.probabilities is not None
    for task in model.run.tasks:
        np.testing.assert_allclose(labelled.prediction.probabilities[task], wanted.probabilities[task], atol=1e-5)
        assert labelled.prediction.known_scores[task] == pytest.approx(wanted.known_scores[task], abs=1e-5)


def test_its_features_are_those_of_a_collection(model: PageModel, painting: ImageFile, tmp_path: Path) -> None:
    (vector,) = compute(model.run, [painting], tmp_path / "cache")
    np.testing.assert_allclose(model.features(model.look(painting)), vector.features, rtol=1e-4, atol=1e-5)


def test_it_keeps_a_small_picture_and_no_path(model: PageModel, painting: ImageFile) -> None:
    labelled = model.look(painting)
    assert (labelled.name, labelled.width, labelled.height) == ("lilies.png", 1400, 900)
    assert labelled.pixels().shape == (round(900 * SHOWN_SIDE / 1400), SHOWN_SIDE, 3)
    assert str(Path(painting.path).parent) not in repr(labelled)


def test_heats_are_maps_of_the_class_that_is_asked_for(model: PageModel, painting: ImageFile) -> None:
    labelled = model.look(painting)
    likeliest = model.heats(labelled, {})["style"]
    assert labelled.prediction.probabilities is not None and likeliest is not None
    top = int(labelled.prediction.probabilities["style"].argmax())
    same, other = (model.heats(labelled, {"style": number})["style"] for number in (top, 1 - top))
    assert same is not None and other is not None
    np.testing.assert_allclose(same, likeliest)
    assert same.ndim == 2 and same.min() >= 0 and same.max() <= 1
    assert not np.allclose(same, other)


def test_what_cannot_be_read_is_named_without_its_folder(model: PageModel, tmp_path: Path) -> None:
    for name, content in (("empty.jpg", b""), ("text.png", b"a letter"), ("cut.jpg", b"\xff\xd8\xff\xe0")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(Unreadable) as caught:
            model.look(ImageFile(str(tmp_path / name)))
        assert name in str(caught.value) and str(tmp_path) not in str(caught.value)


def test_many_may_ask_at_once(model: PageModel, painting: ImageFile) -> None:
    with ThreadPoolExecutor(8) as people:
        paintings = list(people.map(model.look, [painting] * 24))
    assert len({tuple(np.round(model.features(each), 4)) for each in paintings}) == 1
    assert model.run.folder.name == model.name


def test_a_package_labels_before_tensorflow_is_loaded(
    model: PageModel, painting: ImageFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What needs TensorFlow is then asked of the same object, and the labels stay those of Keras."""
    made = package(model.run, tmp_path / "paintings", litert=True)
    program = (
        "import sys\nfrom pathlib import Path\n"
        "from painters_mtl.images.files import ImageFile\nfrom painters_mtl.page.model import PageModel\n"
        "from painters_mtl.runs.run import open_run\n"
        f"model = PageModel(open_run(Path({str(made.folder)!r})))\n"
        f"labelled = model.look(ImageFile({painting.path!r}))\n"
        "print(sorted({'tensorflow', 'keras'} & set(sys.modules)), model.explains_at_once)\n"
        "model.load()\nprint('tensorflow' in sys.modules, model.explains_at_once)\n"
    )
    done = python("-c", program, XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert done.stdout.splitlines()[-2:] == ["[] False", "True True"], done.stderr
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    packaged, images = PageModel(made), drawn_images(made, 6)
    in_keras = packaged.named(images)
    for name, values in packaged.forward(images).items():
        np.testing.assert_allclose(values, in_keras[name], atol=1e-4)


def test_the_network_is_opened_once_for_all_that_is_asked(
    model: PageModel, painting: ImageFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []

    def counted(run: Run, call: Callable[[Run], keras.Model] = open_network.open_network) -> keras.Model:
        opened.append(run)
        return call(run)

    monkeypatch.setattr(open_network, "open_network", counted)
    fresh = PageModel(model.run)
    with ThreadPoolExecutor(4) as people:
        paintings = list(people.map(fresh.look, [painting] * 4))
    assert fresh.features(paintings[0]).ndim == 1 and fresh.heats(paintings[0], {})["style"] is not None
    fresh.stands_out(paintings[0], "style", 0)
    assert len(opened) == 1
