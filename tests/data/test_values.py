"""What a cell says: clean names, and nothing for placeholders and painters whom nobody knows."""

import pytest

from painters_mtl.data.values import clean


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        ("Analytical\xa0Realism", "Analytical Realism"),
        ("Naïve Art (Primitivism)", "Naïve Art (Primitivism)"),
        ("Nai\u0308ve", "Naïve"),
        ("  Ivan \t Bilibin\n", "Ivan Bilibin"),
        ("\ufeffname\u200b", "name"),
        ("", ""),
    ],
)
def test_clean(raw, wanted):
    assert clean(raw) == wanted
