"""Predictions as pages to look at: a thumbnail of each painting, its labels with bars, filters; self-contained."""

import html
import json
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import islice
from pathlib import Path

import jinja2

from painters_mtl.common.errors import UserError, display_path
from painters_mtl.common.files import write_text
from painters_mtl.inference.result_files import journal_file, journal_rows
from painters_mtl.inference.result_tables import Row
from painters_mtl.runs.run import Run

PER_PAGE = 500


def write_gallery(output: Path, run: Run) -> list[Path]:
    """Pages of at most 500 pictures from the journal of `output`, which then goes; returns their files.

    The first page is `output`, the next are `NAME-2.html` ...; later pages of an earlier, longer gallery go.
    """
    journal = journal_file(output)
    count = sum(1 for _ in journal_rows(journal))
    pages = max(1, -(-count // PER_PAGE))
    files = [output if k == 1 else output.with_stem(f"{output.stem}-{k}") for k in range(1, pages + 1)]
    for number, file in enumerate(files[1:], start=2):
        if file.exists() and not is_page(file, output, number):
            raise UserError(
                f"{file} is not a page of the gallery {output} and is not replaced: move it, and go on with --resume, "
                "or choose another --output"
            )
    loader = jinja2.PackageLoader("painters_mtl.reports")
    template = jinja2.Environment(loader=loader, autoescape=True).get_template("gallery.html.jinja")
    rows = journal_rows(journal)
    for number, file in enumerate(files, start=1):
        cards = [_card(row, run) for row in islice(rows, PER_PAGE)]
        links = [(k, other.name) for k, other in enumerate(files, start=1)] if pages > 1 else []
        page = template.render(
            name=display_path(output.name),
            title="labels",
            cards=cards,
            tasks=list(run.tasks),
            links=links,
            number=number,
            count=count, model=run.title, demo=run.demo, mark=_mark(output, number),
        )  # fmt: skip
        write_text(file, page)
    k = pages + 1
    while is_page(old := output.with_stem(f"{output.stem}-{k}"), output, k):
        old.unlink()
        k += 1
    journal.unlink()
    return files


def read_gallery(output: Path) -> Iterator[Row]:
    """The rows from which `write_gallery` made a gallery, page by page. Raises `UserError` for another file."""
    number, file = 1, output
    while is_page(file, output, number):
        page = _Page()
        page.feed(file.read_text(encoding="utf-8"))
        yield from page.rows
        number += 1
        file = output.with_stem(f"{output.stem}-{number}")
    if number == 1:
        raise UserError(f"{output} is no gallery that predict wrote: leave --resume out to replace it")


class _Page(HTMLParser):
    """The rows of a page: each card holds its own as JSON, but for the thumbnail, which is its picture."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[Row] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        if row := values.get("data-row"):
            self.rows.append(json.loads(row))
        elif tag == "img" and self.rows and (source := values.get("src")):
            self.rows[-1]["thumbnail"] = source.partition("base64,")[2]


def _mark(output: Path, number: int) -> str:
    """The comment in a page that tells it from all other files."""
    return f"<!-- page {number} of the gallery {html.escape(display_path(output.name)).replace('--', '- -')} -->"


def is_page(file: Path, output: Path, number: int) -> bool:
    """Whether a file is a page, of this number, that `write_gallery` wrote for this output."""
    try:
        with file.open("rb") as opened:
            return _mark(output, number).encode() in opened.read(10_000)
    except OSError:
        return False


def _card(row: Row, run: Run) -> Row:
    """What the page shows of a picture."""
    path = display_path(row["path"])
    card: Row = {"path": path, "name": path.rsplit("/", 1)[-1], "error": row["error"]}
    card["thumbnail"], card["read_in_part"] = row.get("thumbnail"), row.get("read_in_part")
    card["row"] = json.dumps({name: value for name, value in row.items() if name != "thumbnail"})
    if row["error"]:
        return card
    answers = []
    for task in run.tasks:
        keys = [task, *(f"{task}_{k}" for k in range(2, len(run.tasks[task].classes) + 1))]
        classes_with_confidence = [(row[key], row[f"{key}_confidence"]) for key in keys if key in row]
        if likeliest := row.get("likeliest", {}).get(task):  # the bars are those of the classes, also where it is none
            classes_with_confidence[0] = likeliest, classes_with_confidence[0][1]
        answers.append((task, task in row["doubtful"], bool(likeliest), classes_with_confidence))
    card |= {
        "answers": answers,
        "labels": {task: row[task] for task in run.tasks},
        "doubtful": bool(row["doubtful"]),
        "sure": min(row[f"{task}_confidence"] for task in run.tasks),
    }
    return card
