"""The comparison of a runtime with Keras, by hand."""

from pathlib import Path

import numpy as np
import pytest
from random_runs import fresh_copy, make_run, pictures

from painters_mtl.common.errors import UserError
from painters_mtl.images.files import ImageFile
from painters_mtl.inference.parity import accuracy_loss, compare_outputs, export_faults, parity_faults, sample_images
from painters_mtl.runs.run import Run


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runtimes")


@pytest.fixture(scope="module")
def files(base: Path) -> list[ImageFile]:
    return pictures(base / "pictures")


@pytest.fixture
def run(base: Path, tmp_path: Path) -> Run:
    """A fresh copy of a run with the small network, never exported."""
    if not (base / "convnet").is_dir():
        make_run(base / "convnet")
    return fresh_copy(base / "convnet", tmp_path / "run")


def test_differences_are_counted_for_each_output() -> None:
    wanted = {"style": np.float32([[0.9, 0.1], [0.4, 0.6], [0.5, 0.5], [1, 0]])}
    found = {"style": np.float32([[0.8, 0.2], [0.6, 0.4], [0.5, 0.5], [1, 0]])}
    measured = compare_outputs(found, wanted)
    assert measured["paintings"] == 4 and measured["agreement"] == {"style": 0.75}
    assert measured["largest_difference"]["style"] == pytest.approx(0.2, abs=1e-6)
    assert "style differs by 0.2" in parity_faults(measured, exact=True)
    assert "style agrees on 75.0%" in parity_faults(measured, exact=False)
    assert parity_faults(compare_outputs(wanted, wanted), exact=True) == ""
    nothing = compare_outputs({"style": np.full((4, 2), np.nan, np.float32)}, wanted)
    assert "style differs by inf" in parity_faults(nothing, exact=True)
    with pytest.raises(UserError, match="has the outputs"):
        compare_outputs({"genre": wanted["style"]}, wanted)


def test_pictures_to_compare_on_are_spread_over_the_folder(run: Run, tmp_path: Path) -> None:
    files = pictures(tmp_path / "many", 9)
    wanted = [sample_images(run, [files[i]])[0] for i in (0, 4, 8)]
    np.testing.assert_array_equal(sample_images(run, files, 3), wanted)
    Path(files[4].path).write_bytes(b"broken")  # another one takes its place
    np.testing.assert_array_equal(
        sample_images(run, files, 3), [wanted[0], wanted[2], sample_images(run, [files[1]])[0]]
    )


def test_accuracy_counts_labelled_paintings_only() -> None:
    truth = np.array([0, 1, -1, 1])
    keras = np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5], [0.4, 0.6]])
    found = accuracy_loss(truth, keras, keras[:, ::-1] * [[0], [0], [1], [1]] + keras * [[1], [1], [0], [0]])
    assert found == pytest.approx({"paintings": 3, "keras": 1.0, "exported": 2 / 3, "loss": 1 / 3})


@pytest.mark.parametrize(
    ("losses", "most", "told"),
    [
        ({"painter": 0.02, "style": -0.1}, 0.02, ""),
        (
            {"painter": 0.021, "style": 0.0},
            0.02,
            "8 bits cost too much accuracy: painter 2.1% (--max-loss 0.02 is allowed)",
        ),
        ({"painter": float("nan")}, 0.5, "painter nan"),
        ({"painter": 0.3, "style": 0.25}, 0.2, "painter 30.0%, style 25.0%"),
    ],
)
def test_an_export_in_8_bits_may_lose_so_much_accuracy(losses: dict[str, float], most: float, told: str) -> None:
    faults = export_faults({"accuracy": {name: {"loss": loss} for name, loss in losses.items()}}, most)
    assert faults == told if not told else told in faults


def test_an_export_must_answer_for_one_picture_as_for_many() -> None:
    assert export_faults({"one_at_a_time_differs_by": 0.1}, 0.02) == "one picture alone gives probabilities 0.1 apart"
