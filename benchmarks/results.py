"""The tables of docs/results.md, made again: each study is trained, or read back where it is trained already.

    python benchmarks/results.py ../shared/paintings                     # all of them: a day on two cores
    python benchmarks/results.py ../shared/paintings --only wikiart      # one
    python benchmarks/results.py ../shared/paintings --train none        # the tables alone, from what is trained

A study is a call of `painters_mtl.compare`; what was ended goes on. A study that is not trained here keeps the table
that the page has of it.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from painters_mtl.common.files import read_json
from painters_mtl.studies.summary import ends_text, verdicts

PAGE = Path("docs/results.md")
BEGIN, END = "<!-- benchmarks/results.py -->", "<!-- end of benchmarks/results.py -->"


COSTS = (
    ("training, s", "training_seconds", ",.0f"),
    ("weights", "parameters", ",.0f"),
    ("prediction, ms a painting", "milliseconds", ",.1f"),
)


@dataclass(frozen=True)
class Study:
    """A data set and how networks are trained on it."""

    name: str
    title: str
    folder: str  # below the folder of paintings
    options: tuple[str, ...]  # of `compare`
    chosen_by: str  # what the recipe was chosen by, a sentence


OF_THIS = (
    "The recipe was chosen on this collection too, with earlier versions and on other splits (docs/experiments.md)."
)
STUDIES = (
    Study(
        "wikiart",
        "wikiart: ten styles, 96 pixels",
        "wikiart",
        ("--seeds", "5", "--strategies", "joint,distilled"),
        "`joint` was chosen on `pbn64` and `gallery` (docs/experiments.md), but for the last fit of its heads, which "
        "was chosen by validation of seed 0 here, with its test part in view (docs/experiments/which-maps.md); "
        "`distilled` with seed 0 by validation, and the test part of that seed was seen beside it "
        "(docs/experiments/distilled.md).",
    ),
    Study(
        "wikiart-folds",
        "wikiart: each painting tested once, in five folds, 96 pixels",
        "wikiart",
        ("--seeds", "1", "--folds", "5", "--strategies", "distilled"),
        "The recipe was chosen by the 3,183 validation works of one split, with its 2,712 test works in view; here all "
        "works are tested, each by networks that never saw it.",
    ),
    Study(
        "wikiart-best",
        "wikiart: ten styles, `--quality best`, 128 pixels",
        "wikiart",
        ("--quality", "best", "--seeds", "1"),
        "The recipe was chosen by validation, and without this test part.",
    ),
    Study(
        "gallery",
        "gallery: 1,309 paintings, five folds",
        "gallery",
        ("--weights", "imagenet", "--seeds", "1", "--folds", "5"),
        OF_THIS,
    ),
    Study("pbn64", "pbn64: the competition's paintings at 64 pixels, two styles", "pbn64", ("--seeds", "3"), OF_THIS),
)


def command(study: Study, paintings: Path, models: Path) -> list[str]:
    """The command line of a study."""
    place = ["--data", str(paintings / study.folder), "--name", study.name, "--models", str(models)]
    return ["python", "-m", "painters_mtl.compare", *place, *study.options]


def trained_on(result: dict[str, Any]) -> str:
    """What the trainings of a study were made with, in a line, as its comparison.json says it."""
    if not (made := result.get("made_with")):
        return "version and machine not recorded"
    libraries = ", ".join(f"{name} {made[name]}" for name in ("tensorflow", "keras"))
    return f"version {made['painters-mtl']}, {made['cores']} cores ({made['machine']}), {libraries}, {made['device']}"


def tables(study: Study, models: Path) -> Iterator[str]:
    """The lines of a study: heading, command, and a table for each way of training the tasks together."""
    folder = models / study.name
    result = read_json(folder / "comparison.json")
    # The default places, so that the page names no folder of the machine that it was made on.
    shown = " ".join(command(study, Path("PAINTINGS"), Path("models")))
    yield from (f"## {study.title}", "", f"`{shown}`", "")
    trainings = f"{result['seeds']} training{'s' * (result['seeds'] > 1)} of each network"
    folds = f", {result['folds']}-fold cross-validation" if result.get("folds") else ""
    yield from (f"{trainings}{folds}; {trained_on(result)}. {study.chosen_by}", "")
    for way, figures in result["strategies"].items():
        yield from (f"**{way}**", "", *table(figures), "")
        yield from (*(f"- {sentence}" for sentence in verdicts(figures)), "")


def table(figures: dict[str, Any]) -> list[str]:
    """Accuracy, macro-F1 and their differences for each task, then the costs."""
    lines = ["| | test works | each alone | shared | difference (95 %) | macro-F1 alone | shared |", "|---" * 7 + "|"]
    for task, values in figures["tasks"].items():
        mean, low, high = (100 * value for value in values["difference"]["accuracy"])
        accuracy, f1 = (
            [100 * values[side][key][0] for side in ("alone", "shared")] for key in ("accuracy", "macro_f1")
        )
        lines.append(
            f"| {task} | {values['n']:,} | {accuracy[0]:.1f} % | {accuracy[1]:.1f} % | {mean:+.1f} "
            f"({ends_text(low, high)}) | {f1[0]:.1f} | {f1[1]:.1f} |"
        )
    cost = figures["cost"]
    for label, key, form in COSTS:
        alone, shared = cost["alone"][key], cost["shared"][key]
        lines.append(f"| {label} | | {alone:{form}} | {shared:{form}} | {shared / max(alone, 1e-9):.2f} of it | | |")
    return lines


def write_page(made: dict[str, str]) -> None:
    """Put tables, {title: text}, between the marks of docs/results.md; other tables and what is around them stay."""
    page = PAGE.read_text(encoding="utf-8") if PAGE.exists() else f"# Results\n\n{BEGIN}\n{END}\n"
    before, _, rest = page.partition(BEGIN)
    there, _, after = rest.partition(END)
    sections = {part.partition("\n")[0]: f"## {part}".strip() for part in there.split("\n## ")[1:]} | made
    text = "\n\n".join(sections[study.title].strip() for study in STUDIES if study.title in sections)
    PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paintings", type=Path)
    parser.add_argument("--only", nargs="*", default=[study.name for study in STUDIES])
    parser.add_argument("--models", type=Path, default=Path("models/results"))
    parser.add_argument("--cache", type=Path, default=Path("data/cache"))
    parser.add_argument("--train", choices=("all", "none"), default="all")
    options = parser.parse_args()
    for study in STUDIES:
        if study.name in options.only and options.train == "all":
            words = command(study, options.paintings, options.models)[1:]
            subprocess.run([sys.executable, *words, "--cache", str(options.cache)], check=True)
    trained = [study for study in STUDIES if (options.models / study.name / "comparison.json").exists()]
    write_page({study.title: "\n".join(tables(study, options.models)) for study in trained})
    print(f"{PAGE}: {', '.join(study.name for study in trained) or 'nothing is trained yet'}")


if __name__ == "__main__":
    main()
