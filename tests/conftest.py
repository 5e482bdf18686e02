"""Fixtures shared by the tests."""

import os
from pathlib import Path

import pytest

os.environ.pop("TQDM_DISABLE", None)  # some tests look at the progress that is shown
if "PYTEST_XDIST_WORKER" in os.environ:  # the other cores are the other workers'; it must be known before TensorFlow is
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

PAINTINGS = Path(__file__).resolve().parents[2] / "shared" / "paintings"
CASES = PAINTINGS.with_name("cases")


LONG = (
    "ray",
    "notebooks",
    "resume",
    "distributed_training",
    "step",
    "lookups",
    "compare",
    "predict",
    "transfer",
    "wheel",
    "head_refit",
    "distillation",
    "micro_batches",
    "own_tasks",
    "fit",
    "vectors",
    "pairs",
    "server",
    "browser",
    "devices",
    "study",
    "lazy_imports",
    "broken",
    "manifest",
    "intervals",
    "known_class_heads",
    "runtimes",
    "cache",
    "export",
    "explain",
    "finalize",
    "loop",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first: a worker takes a whole file, and the last one must not leave the others without work."""
    place = {f"test_{name}.py": number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.path.name, len(LONG)))


@pytest.fixture(scope="session")
def paintings() -> Path:
    """The folder of real paintings beside the project; tests that need it skip where it is not."""
    if not PAINTINGS.is_dir():
        pytest.skip("needs the real paintings in ../shared/paintings")
    return PAINTINGS


@pytest.fixture(scope="session")
def cases() -> Path:
    """The folder of small difficult inputs beside the project; tests that need it skip where it is not."""
    if not CASES.is_dir():
        pytest.skip("needs the difficult inputs in ../shared/cases")
    return CASES
