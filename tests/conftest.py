"""Fixtures shared by the tests."""

import os
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # the other cores are the other workers'; it must be known before TensorFlow is
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

PAINTINGS = Path(__file__).resolve().parents[2] / "shared" / "paintings"


@pytest.fixture(scope="session")
def paintings() -> Path:
    """The folder of real paintings beside the project; tests that need it skip where it is not."""
    if not PAINTINGS.is_dir():
        pytest.skip("needs the real paintings in ../shared/paintings")
    return PAINTINGS
