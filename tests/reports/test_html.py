"""Pages: how values are written, and that names of a user's own stay text."""

from pathlib import Path

import jinja2
import pytest

from painters_mtl.reports import html


def test_values_are_written_for_people() -> None:
    assert html.percent(0.714) == "71.4 %" and html.percent(float("nan")) == "-"
    assert html.interval_percent([0.5, 0.4, 0.6]) == "50.0 % (40.0 to 60.0)"
    assert html.interval_percent([0.5, float("nan"), float("nan")]) == "50.0 %"
    assert [html.listed(names) for names in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a and b", "a, b and c"]
    assert [html.duration(s) for s in (42.3, 2323, 12_600)] == ["42 seconds", "39 minutes", "3.5 hours"]
    assert html.number_word(3) == "three" and html.number_word(12) == "12"


def test_a_page_escapes_names_and_lacks_nothing(tmp_path: Path) -> None:
    html.write_page(tmp_path / "page.html", "head.html.jinja", name="<script>alert(1)</script>", title="x")
    assert "&lt;script&gt;" in (tmp_path / "page.html").read_text(encoding="utf-8")
    with pytest.raises(jinja2.UndefinedError):
        html.write_page(tmp_path / "page.html", "head.html.jinja", title="x")
