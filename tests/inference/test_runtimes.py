"""Other runtimes: Keras's probabilities, for any number of pictures."""

import json
from pathlib import Path

import numpy as np
import pytest
from random_runs import needs, pictures, rounding, run_of_kind

from painters_mtl.images.files import ImageFile
from painters_mtl.inference import runtimes
from painters_mtl.inference.parity import sample_images
from painters_mtl.inference.runtime_choice import open_runtime
from painters_mtl.network.forward import forward_function
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
    return run_of_kind("convnet", base, tmp_path / "run")


@pytest.mark.parametrize("kind", ["convnet", "views", pytest.param("lite0", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", runtimes.EXACT)
def test_probabilities_are_those_of_keras(
    name: str, kind: str, base: Path, files: list[ImageFile], tmp_path: Path
) -> None:
    needs(name)
    run = run_of_kind(kind, base, tmp_path / "run")
    copies = sample_images(run, files)
    assert len(copies) == 7 and len({c.tobytes() for c in copies}) == 7
    wanted = {k: v.numpy() for k, v in forward_function(run.model(), run.image_size)(copies).items()}
    assert np.ptp(wanted["painter"], axis=0).max() > 0.05  # or else any network would do
    forward = open_runtime(run, name, 32, files)
    every = {n: forward(copies[:n]) for n in (7, 1, 4, 5)}  # what a call returned stays when the next comes
    for n, found in every.items():  # whole slices and filled ones
        assert found.keys() == wanted.keys()
        for task in wanted:
            assert found[task].dtype == np.float32
            np.testing.assert_allclose(found[task], wanted[task][:n], atol=rounding(kind))
    alone = open_runtime(run, name, 1)
    for task in wanted:
        parts = [alone(copies[i : i + 1])[task] for i in range(7)]
        np.testing.assert_allclose(np.concatenate(parts), wanted[task], atol=rounding(kind))
    kept = json.loads(next((run.folder / "runtimes" / name).glob("*/check.json")).read_text())
    assert kept["paintings"] == 7 and max(kept["largest_difference"].values()) < rounding(kind)


@pytest.mark.parametrize("kind", ["convnet", "views", pytest.param("lite0", marks=pytest.mark.slow)])
def test_keras_says_the_same_without_being_compiled(
    kind: str, base: Path, files: list[ImageFile], tmp_path: Path
) -> None:
    run = run_of_kind(kind, base, tmp_path / "run")
    copies = sample_images(run, files)
    wanted, found = open_runtime(run)(copies), open_runtime(run, compiled=False)(copies)
    assert found.keys() == wanted.keys()
    for task in wanted:
        assert found[task].dtype == np.float32
        np.testing.assert_allclose(found[task], wanted[task], atol=rounding(kind))
