"""README and docs: their commands can be typed as they stand, links lead somewhere, and the site fetches nothing."""

import importlib
import itertools
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from painters_mtl.__main__ import VERBS, main
from painters_mtl.common.command_line import parse_arguments

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
GUIDES = ROOT / "docs" / "guides"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
SETTINGS = {
    "train": ("painters_mtl.training.settings", "TrainSettings"),
    "compare": ("painters_mtl.studies.settings", "CompareSettings"),
    "describe": ("painters_mtl.describe", "DescribeSettings"),
}
SERVES = "app"  # runs until it is ended; tests/verbs/test_app.py has it


def commands(page: Path) -> list[str]:
    """The lines of a page's sh blocks; a line that ends in a backslash goes on in the next one."""
    blocks = re.findall(r"^```sh\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines() if line.strip()]


def verb_call(command: str) -> list[str]:
    """The words behind painters-mtl in a command, be it alone or in a pipe; none where it calls something else."""
    for part in command.split(" | "):
        words = shlex.split(part)
        if Path(words[0]).name == "painters-mtl":
            return words[1:]
        if words[:2] == ["python", "-m"] and words[2].startswith("painters_mtl."):
            return [words[2].partition(".")[2], *words[3:]]
    return []


def settings_class(verb: str) -> type:
    module, name = SETTINGS.get(verb, (f"painters_mtl.{verb}", "Settings"))
    return getattr(importlib.import_module(module), name)


EVERY_COMMAND = [(page, command) for page in PAGES for command in commands(page)]


def test_the_readme_is_short_and_its_links_lead_to_files() -> None:
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        assert (ROOT / link).exists(), f"README.md links to {link}"


def test_the_readme_begins_with_two_commands_that_need_no_training() -> None:
    first, second = commands(README)[:2]
    settings, _ = parse_arguments(settings_class("predict"), verb_call(second)[1:], "predict")
    assert first == "make setup" and verb_call(second)[0] == "predict" and settings.model is None


def test_the_second_command_of_the_demo_uses_what_the_first_makes() -> None:
    every = commands(README)
    place = next(k for k, command in enumerate(every) if command.startswith("make train"))
    first, second = (shlex.split(command) for command in every[place : place + 2])
    (arguments,) = (word.removeprefix("ARGS=").split() for word in first if word.startswith("ARGS="))
    made, _ = parse_arguments(settings_class("train"), arguments, "train")
    used, _ = parse_arguments(settings_class("predict"), verb_call(shlex.join(second))[1:], "predict")
    assert used.model == made.models / made.name
    assert verb_call(shlex.join(second))[1] == f"{made.data}/images"


def test_every_verb_has_a_guide_and_a_line_in_the_readme() -> None:
    text = README.read_text(encoding="utf-8")
    for verb in VERBS:
        assert f"docs/guides/{verb}.md" in text
        guide = (GUIDES / f"{verb}.md").read_text(encoding="utf-8")
        assert f"<!-- options: {verb} -->" in guide and "## Exit status" in guide
        assert any(verb_call(command)[:1] == [verb] for command in commands(GUIDES / f"{verb}.md"))


@pytest.mark.parametrize(("page", "command"), EVERY_COMMAND, ids=lambda value: getattr(value, "name", value)[:70])
def test_the_command_can_be_typed_as_it_stands(page: Path, command: str) -> None:
    if command.startswith(("curl ", "export ")):  # the shell's own
        return
    words = shlex.split(command.split(" | ")[0])
    if call := verb_call(command):
        assert call[0] in VERBS, f"{call[0]} is no verb"
        if "--resume" not in call:  # a run of that name has to be there for it
            parse_arguments(settings_class(call[0]), call[1:], call[0])
        parsed = {word.partition("=")[0] for word in call if word.startswith("--")}
        names = {field.name for field in fields(settings_class(call[0]))} | {"in"}
        assert {word[2:].replace("-", "_").removeprefix("no_") for word in parsed} <= names
    elif words[0] == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.M)
        assert {word for word in words[1:] if "=" not in word} <= set(targets)
    elif words[:2] == ["pip", "install"]:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        extras = {name for names in re.findall(r"\[(.*)\]", command) for name in names.split(",")}
        assert extras <= set(project["optional-dependencies"])
    elif words[0] == "python":
        assert (ROOT / words[1]).is_file()
    else:
        assert command == "source .venv/bin/activate", f"{page.name}: no rule for {command}"


@pytest.mark.slow
def test_the_commands_of_the_readme_do_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call of a verb in the README, one after the other, in a folder that has what the README speaks of."""
    from helpers import LEVELS, picture
    from small_runs import trained_run

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    for k, style in enumerate(("Baroque", "Cubism", "Impressionism")):  # one task: one network is trained, not four
        folder = tmp_path / "my-paintings" / style
        folder.mkdir(parents=True)
        for number in range(16):
            Image.fromarray(picture((LEVELS[k], 100, 200), rng)).save(folder / f"{number}.png")
    shutil.copytree(tmp_path / "my-paintings" / "Cubism", tmp_path / "data" / "demo" / "images")
    trained_run(tmp_path / "models" / "demo", demo=True)
    for command in commands(README):
        call = verb_call(command)
        if not call or call[0] == SERVES:
            continue
        outputs = [Path(word) for option, word in itertools.pairwise(call) if option == "--output"]
        for file in outputs:
            file.unlink(missing_ok=True)
        assert main(call) == 0, command
        assert all(file.is_file() for file in outputs), command
    assert (tmp_path / "models" / "mine" / "report.html").is_file()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the site, built with warnings as errors."""
    pytest.importorskip("mkdocs", reason="the extra docs is not installed")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "--quiet", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow  # `make docs` builds the site too
def test_the_site_fetches_nothing_from_anywhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        tags = re.findall(r"<(?:script|link|img|iframe|source)\b[^>]*>", page.read_text(encoding="utf-8"))
        foreign = [tag for tag in tags if re.search(r"(?:src|href)=[\"']?(?:https?:)?//", tag)]
        assert not foreign, f"{page.name}: {foreign}"
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\([\"']?(?:https?:)?//|@import", sheet.read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_a_guide_holds_every_option_of_its_verb(site: Path, verb: str) -> None:
    text = (site / "guides" / f"{verb}.html").read_text(encoding="utf-8")
    for field in fields(settings_class(verb)):
        name = {"within": "in"}.get(field.name, field.name)
        option = f"--(?:no-)?{name.replace('_', '-')}"
        assert re.search(rf"<code>(?:{option}|{name.upper()})</code>", text), f"{verb}: {option} is missing"
