"""A stream of pictures: in order, refusals in their places, a few read ahead, whatever the network is."""

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from pictures import encode, scene

from painters_mtl.common import interrupts
from painters_mtl.common.errors import REASONS
from painters_mtl.images.decode import cached_image
from painters_mtl.images.files import ImageFile
from painters_mtl.images.stream import stream_images

SIDE = 24


@pytest.fixture
def files(tmp_path: Path) -> list[ImageFile]:
    """Eleven pictures, of which the third is empty and the last is not there."""
    for k in range(10):
        (tmp_path / f"{k}.png").write_bytes(encode(scene(30 + k, 40, seed=k), "PNG") if k != 2 else b"")
    return [ImageFile(str(tmp_path / f"{k}.png")) for k in range(11)]


def first_pixels(images: np.ndarray) -> Mapping[str, np.ndarray]:
    """A network: the mean of every image, and its first pixels."""
    flat = images.reshape(len(images), -1)
    return {"mean": flat.mean(1), "pixels": flat[:, :7]}


@pytest.mark.parametrize("inputs", [("whole",), ("whole", "detail")])
@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_outputs_are_those_of_each_picture_alone(
    files: list[ImageFile], inputs: tuple[str, ...], batch_size: int
) -> None:
    sizes = []

    def forward(images: np.ndarray) -> Mapping[str, np.ndarray]:
        sizes.append(len(images))
        return first_pixels(images)

    results = list(stream_images(files, forward, SIDE, inputs, batch_size, threads=3))
    assert [result.file for result in results] == files and max(sizes) <= batch_size
    for k, result in enumerate(results):
        if k in (2, 10):
            assert result.outputs is None and result.picture is None
            assert result.error.split(" (")[0] == ("empty" if k == 2 else "missing") in REASONS
            continue
        picture, image = cached_image(files[k].read(), SIDE, inputs)
        expected = first_pixels(image[None])
        assert result.outputs is not None and result.picture is not None and not result.error
        assert {name: values.tolist() for name, values in result.outputs.items()} == {
            name: values[0].tolist() for name, values in expected.items()
        }
        np.testing.assert_array_equal(result.picture.pixels, picture.pixels)


def test_endless_files_are_read_a_little_ahead(files: list[ImageFile]) -> None:
    taken = 0

    def endless() -> Iterator[ImageFile]:
        nonlocal taken
        for file in itertools.cycle(files):
            taken += 1
            yield file

    stream = stream_images(endless(), first_pixels, SIDE, batch_size=4, threads=2)
    results = list(itertools.islice(stream, 50))
    assert [result.file for result in results] == list(itertools.islice(itertools.cycle(files), 50))
    assert taken <= 50 + 6 * 4
    stream.close()  # type: ignore[attr-defined]


def test_ctrl_c_ends_it_between_two_pictures(files: list[ImageFile], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "_requested", True)  # as a signal that came while Python could not raise
    with pytest.raises(KeyboardInterrupt):
        list(stream_images(files, first_pixels, SIDE))
