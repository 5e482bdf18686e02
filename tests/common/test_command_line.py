"""The command line: verbs, statuses, one line for an error, and no heavy import before it must be."""

import dataclasses
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest
from helpers import python

from painters_mtl import __main__, train
from painters_mtl.common import command_line
from painters_mtl.common.errors import UserError
from painters_mtl.studies.settings import CompareSettings
from painters_mtl.training.settings import TrainSettings

HEAVY = ("tensorflow", "keras", "numpy", "pandas", "sklearn", "scipy", "matplotlib", "PIL")
SCRIPT = Path(sys.executable).with_name("painters-mtl")  # what pip installs


@dataclass
class Settings:
    """What a verb may be told."""

    count: int = 3
    """how many"""


# ------------------------------------------------------------------------------------------------- nothing too early


@pytest.mark.parametrize("verb", ["", *__main__.VERBS])
def test_help_imports_nothing_heavy(verb: str) -> None:
    code = (
        "import sys\n"
        "from painters_mtl.__main__ import main\n"
        "try:\n    status = main(sys.argv[1:])\n"
        "except SystemExit as end:\n    status = end.code\n"
        f"print('heavy:', [m for m in {HEAVY} if m in sys.modules], 'status:', status)\n"
    )
    done = python("-c", code, *([verb] if verb else []), "--help")
    assert done.stdout.splitlines()[-1] == "heavy: [] status: 0", done.stdout + done.stderr
    assert "usage" in done.stdout.lower()


@pytest.mark.parametrize("verb", __main__.VERBS)
def test_help_is_the_same_for_every_way_to_ask(verb: str) -> None:
    ways = [
        python("-m", f"painters_mtl.{verb}", "--help"),
        python("-m", "painters_mtl", verb, "--help"),
        subprocess.run([SCRIPT, verb, "--help"], capture_output=True, text=True),
    ]
    assert [w.returncode for w in ways] == [0, 0, 0] and len({w.stdout for w in ways}) == 1
    assert f"\n    painters-mtl {verb}" in ways[0].stdout  # the commands of the docstring


def test_a_mistake_is_found_before_anything_heavy_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from painters_mtl.predict import main\n"
        f"status = main(['--model', {str(tmp_path / 'nowhere')!r}, {str(tmp_path)!r}])\n"
        "print('tensorflow' in sys.modules, status)\n"
    )
    assert python("-c", code).stdout.splitlines()[-1] == "False 2"


# ------------------------------------------------------------------------------------------------- verbs


def test_the_verbs_are_listed() -> None:
    for words in ([], ["--help"], ["-h"]):
        done = python("-m", "painters_mtl", *words)
        assert done.returncode == 0 and not done.stderr
        assert all(f"  {verb} " in done.stdout for verb in __main__.VERBS)


def test_the_version_is_that_of_the_package() -> None:
    done = python("-m", "painters_mtl", "--version")
    assert done.returncode == 0 and done.stdout == f"painters_mtl {metadata.version('painters-mtl')}\n"


def test_an_unknown_verb_is_misuse() -> None:
    done = python("-m", "painters_mtl", "nonsense")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.splitlines()[0] == "error: 'nonsense' is not a verb"
    assert all(verb in done.stderr for verb in __main__.VERBS)


def test_every_verb_is_a_module_with_a_purpose() -> None:
    package = Path(__main__.__file__).parent
    for verb, purpose in __main__.VERBS.items():
        assert (package / f"{verb}.py").is_file() and purpose
    modules = {
        file.stem for file in package.glob("*.py") if "command_line.run_command(" in file.read_text(encoding="utf-8")
    }
    assert modules == set(__main__.VERBS)  # what has a command line is listed


# ------------------------------------------------------------------------------------------------- statuses


def run(command: object, *words: str) -> int:
    return command_line.run_command(Settings, command, list(words), "test")  # type: ignore[arg-type]


def test_the_command_gets_the_settings_and_its_status_is_returned() -> None:
    assert run(lambda settings: settings.count) == 3
    assert run(lambda settings: settings.count, "--count", "1") == 1


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (UserError("the folder is empty: give another"), 2, "error: the folder is empty: give another"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (
            PermissionError(13, "Permission denied", "/x/y.csv"),
            2,
            "error: /x/y.csv: Permission denied; change who may use it, or name another place",
        ),
        (
            OSError(28, "No space left on device"),
            2,
            "error: No space left on device; make room, or write elsewhere (--help names the options)",
        ),
        (OSError(5, "Input/output error", "/x"), 2, "error: /x: Input/output error"),
        (OSError("a library's own words"), 2, "error: a library's own words"),
    ],
)
def test_an_error_is_one_line_and_a_status(
    error: BaseException, status: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def command(_: Settings) -> int:
        raise error

    assert run(command) == status
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", line + "\n")


@pytest.mark.parametrize("error", [ValueError("a bug"), KeyError("x"), ZeroDivisionError()])
def test_a_bug_is_not_hidden(error: Exception) -> None:
    def command(_: Settings) -> int:
        raise error

    with pytest.raises(type(error)):
        run(command)


def test_wrong_options_have_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--cuont", "1"], ["--count", "many"], ["extra"]):
        with pytest.raises(SystemExit) as status:
            run(lambda _: 0, *words)
        assert status.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_closed_pipe_is_no_error() -> None:
    code = (
        "import sys\nfrom painters_mtl.common import command_line as cli\nfrom painters_mtl.check import Settings\n"
        "def command(_):\n    for i in range(100000):\n        print('a line of text', i)\n    return 0\n"
        "sys.exit(cli.run_command(Settings, command, ['x'], 'test'))\n"
    )
    read, write = os.pipe()
    process = subprocess.Popen([sys.executable, "-c", code], stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    os.read(read, 10)
    os.close(read)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")


def test_settings_that_cannot_work_are_one_line_and_touch_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    cases = {
        "--image-size 16": ["--image-size", "16"],
        "--name '../x'": ["--name", "../x"],
        "nowhere": ["--data", "nowhere"],
        "--dropout 1.5": ["--dropout", "1.5"],
    }
    for part, words in cases.items():
        assert train.main(words) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ") and part in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [["--data", "s3://bucket/a"], ["--data=gs://a"], ["--task-data", "style=s3://a/b"]])
def test_an_address_is_no_folder(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert train.main(words) == 2
    said = capsys.readouterr().err
    assert words[-1].rpartition("=")[2] in said and "is an address, and only files and folders are read" in said


def parsed(*words: str) -> TrainSettings:
    settings, _ = command_line.parse_arguments(TrainSettings, list(words), "test")
    return settings


def test_lists_may_have_commas_and_dicts_equals_signs() -> None:
    words = "--shared-layers 512,256 --task-layers 8 4, --painters Bruegel, the Elder --task-weights painter=2 style 3"
    settings = parsed(*words.split(), "--views=whole,detail")
    assert (settings.shared_layers, settings.task_layers) == ((512, 256), (8, 4))
    assert settings.painters == ("Bruegel,", "the", "Elder")  # a name may have commas
    assert settings.task_weights == {"painter": 2.0, "style": 3.0} and settings.views == ("whole", "detail")


def test_only_the_first_equals_sign_divides(tmp_path: Path) -> None:
    places = [tmp_path / "x=1" / "p", tmp_path / "y=2"]
    for place in places:
        place.mkdir(parents=True)
    words = ["--task-data", "painter", str(places[0]), f"style={places[1]}", "--task-weights=genre=1", "--name=a=b"]
    settings = parsed(*words, "--data", str(tmp_path))
    assert settings.task_data == {"painter": places[0], "style": places[1]}
    assert (settings.task_weights, settings.name) == ({"genre": 1.0}, "a=b")


def test_a_path_that_is_there_may_hold_a_comma(tmp_path: Path) -> None:
    there = tmp_path / "Renoir, Pierre"
    there.mkdir()
    settings = parsed("--teachers", str(there), "runs/a,runs/b")
    assert settings.teachers == (there, Path("runs/a"), Path("runs/b"))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--views", "whole,other"], "other is none of whole, detail"),
        (["--shared-layers", "64,x"], "x is not a whole number"),
        (["--task-weights", "painter=x"], "x is not a number"),
        (["--task-weights", "painter"], "painter has no value: write painter=VALUE"),
        (["--task-weights", "painter="], "painter has no value"),
    ],
)
def test_a_wrong_part_of_a_list_is_named(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as status:
        parsed(*words)
    assert status.value.code == 2
    message = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert f"Error parsing {words[0]}: {says}" in message


def test_an_explanation_is_one_paragraph() -> None:
    """Tyro breaks lines where the terminal ends, and where the text does."""
    command_line.one_paragraph_help(CompareSettings)
    helps = {f.name: f.metadata["help"] for f in dataclasses.fields(CompareSettings)}
    assert not [name for name, text in helps.items() if "\n" in text or not text]
    assert helps["name"].startswith("Name of the study:")  # not that of a training, which it replaces
    assert helps["resume"].startswith("Go on with the run of that name; an error where there is none. What the")
