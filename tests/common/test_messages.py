"""Messages and progress: on standard output, silent with --quiet; a bar on a terminal, lines elsewhere."""

import io
import sys
from dataclasses import dataclass

import pytest

from painters_mtl.common import command_line, messages
from painters_mtl.common.messages import ProgressBar, say, warn


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@dataclass
class Settings:
    """What the verb of this test can be told."""

    count: int = 1
    """How often."""


def verb(settings: Settings) -> int:
    say("at work")
    warn("one file is missing")
    print(f"result {settings.count}")
    return 0


@pytest.fixture(autouse=True)
def bars_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TQDM_DISABLE", raising=False)


def test_quiet_leaves_results_and_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    for words, out in ((["--count", "2"], "at work\nresult 2\n"), (["--quiet", "--count", "2"], "result 2\n")):
        assert command_line.run_command(Settings, verb, words, "verb") == 0
        said = capsys.readouterr()
        assert said.out == out and said.err == "one file is missing\n"
    assert not messages.is_quiet()  # only for as long as the command ran


def test_help_names_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command_line.run_command(Settings, verb, ["--help"], "verb", "What it does.")
    assert "--quiet" in capsys.readouterr().out


def test_a_file_gets_a_line_for_each_tenth_and_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "TENTHS_FROM", 0.0)
    stream = io.StringIO()
    with ProgressBar(total=1000, desc="reading", unit=" pictures", file=stream, mininterval=0) as bar:
        for _ in range(250):
            bar.update(4)
    lines = stream.getvalue().splitlines()
    assert "\r" not in stream.getvalue() and len(lines) == 10
    assert lines[0].startswith("reading: 10 % of 1,000 pictures, ") and lines[0].endswith(" left")
    assert lines[-1].startswith("reading: 100 %")


def test_what_is_done_at_once_says_nothing() -> None:
    stream = io.StringIO()
    assert list(ProgressBar(range(50), file=stream, mininterval=0)) == list(range(50))
    assert stream.getvalue() == ""


def test_a_bar_that_goes_on_says_only_what_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "TENTHS_FROM", 0.0)
    stream = io.StringIO()
    with ProgressBar(total=100, initial=50, file=stream, mininterval=0) as bar:
        bar.update(10)
    assert [line.partition(" of")[0] for line in stream.getvalue().splitlines()] == ["60 %"]


def test_a_terminal_gets_one_line_that_is_drawn_anew() -> None:
    stream = Terminal()
    for _ in ProgressBar(range(20), desc="reading", file=stream, mininterval=0):
        pass
    assert stream.getvalue().count("\r") > 1 and stream.getvalue().count("\n") == 1


def test_quiet_hides_bars() -> None:
    stream = Terminal()
    with messages.quiet():
        assert list(ProgressBar(range(20), file=stream)) == list(range(20))
    assert stream.getvalue() == ""


def test_the_environment_hides_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TQDM_DISABLE", "1")
    stream = Terminal()
    assert list(ProgressBar(range(20), file=stream)) == list(range(20))
    assert stream.getvalue() == ""


def test_messages_go_where_standard_output_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    say("here")
    assert stream.getvalue() == "here\n"


@pytest.mark.parametrize(
    ("note", "said"),
    [
        (
            "1 pictures cannot be read and are left out (1 empty).",
            "1 picture cannot be read and is left out (1 empty).",
        ),
        ("1 cells of date were cleaned.", "1 cell of date was cleaned."),
        ("1 rows of labels.csv name an image.", "1 row of labels.csv names an image."),
        ("1 damaged pictures are used.", "1 damaged picture is used."),
        ("1 of the 4 images have no row in t.csv.", "1 of the 4 images has no row in t.csv."),
        ("1,001 rows are left out.", "1,001 rows are left out."),
        ("11 rows are left out.", "11 rows are left out."),
        ("labels.csv: 1 rows are left out.", "labels.csv: 1 rows are left out."),
    ],
)
def test_a_note_about_one_thing_is_in_the_singular(note: str, said: str) -> None:
    assert messages.in_singular(note) == said


def test_things_are_counted_as_in_a_sentence() -> None:
    assert [messages.counted(n, "picture") for n in (0, 1, 2000)] == ["0 pictures", "1 picture", "2,000 pictures"]
