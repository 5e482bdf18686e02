"""Fixtures shared by the tests."""

from pathlib import Path

import pytest

PAINTINGS = Path(__file__).resolve().parents[2] / "shared" / "paintings"


@pytest.fixture(scope="session")
def paintings() -> Path:
    """The folder of real paintings beside the project; tests that need it skip where it is not."""
    if not PAINTINGS.is_dir():
        pytest.skip("needs the real paintings in ../shared/paintings")
    return PAINTINGS
