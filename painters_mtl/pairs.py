"""The competition's task: are two paintings by the same painter? A score for each pair, written as a submission.

    python -m painters_mtl.pairs --model models/full --pairs submission_info.csv --images test/ --output submission.csv
    python -m painters_mtl.pairs --model models/full --pairs submission_info.csv --images data/test.zip
    python -m painters_mtl.pairs --model models/full --images paintings/ --labels data/painter-by-numbers

The pairs are `index,image1,image2`, the submission is `index,sameArtist`: a row for each, in the same order. A picture
is found by its file name, in folders and zips, and goes through the network once; what was computed is kept in
data/cache, so that a run that was cut off goes on. Pairs are read and written in chunks, in constant memory. A picture
that is missing or cannot be read is reported, and its pairs get the score of a painting of which nothing is known.
Without --pairs all pairs of the pictures are scored, and written with their names.

A higher score means "rather the same painter"; what it is made of, --score says. The learned score needs the paintings
of the training once (--data, by default those the run names); it is then kept in the run folder as same_painter.npz.
With --labels the AUC is reported too, with 95 % intervals: for painters with works in the training, for those without,
and for all. Exit status: 0 done, 1 some pictures are missing or could not be read, 2 misuse.
"""

import math
import sys
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from painters_mtl.common import command_line
from painters_mtl.common.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from painters_mtl.images.files import ImageFile
    from painters_mtl.inference.painter_pairs import PainterHead
    from painters_mtl.runs.run import Run

CHUNK = 200_000  # pairs in memory at once
COLUMNS = ("index", "image1", "image2")


@dataclass
class Settings:
    """Which pairs to score, and how."""

    images: tuple[Path, ...]
    """folders (with all below them) or zips (read in place) with the pictures"""
    pairs: Path | None = None
    """the CSV of the pairs: index,image1,image2 (it may lie there as .csv.zip); without it all pairs of the pictures"""
    output: Path = Path("submission.csv")
    """the CSV to write; without --pairs pairs.csv, unless another is named"""
    model: Path | None = None
    """run folder of the model, such as models/full; without it the newest one in models"""
    score: Literal["best", "learned", "cosine", "product"] = "best"
    """learned: a softmax over all painters with 10 works, learned on the features, and its product; cosine: of the
    features; product: of the painter softmaxes; best: what does best on validation paintings, by painters in training
    and by those kept out of it"""
    data: Path | None = None
    """the paintings that the model was trained on, for the learned score; by default where they were"""
    labels: Path | None = None
    """who painted the pictures: a data folder as for train, or a CSV; the AUC is then reported"""
    against: Path | None = None
    """with --labels: a second run folder, scored in the same way; the difference of the AUC is reported"""
    cache: Path = Path("data/cache")
    """where the features are kept"""
    batch_size: int = 32
    """pictures that go through the network at once"""
    threads: int = 0
    """how many pictures are decoded at once; 0: as many as there are cores"""

    def __post_init__(self) -> None:
        """All pairs of the pictures are no submission, and must not take the place of one."""
        if self.pairs is None and self.output == Path("submission.csv"):
            self.output = Path("pairs.csv")


def pairs(settings: Settings) -> int:
    """The verb. Returns 0, or 1 when pictures were missing or could not be read."""
    if settings.pairs is not None and not settings.pairs.exists():
        zipped = settings.pairs.with_name(settings.pairs.name + ".zip")  # so it comes from the competition
        settings = replace(settings, pairs=zipped if zipped.exists() else settings.pairs)
    _check(settings)
    from painters_mtl.images import files as images
    from painters_mtl.runs.run import open_run, open_run_for_pictures

    run = open_run_for_pictures(settings.model)
    other = open_run(settings.against, option="--against") if settings.against else None
    files = by_name(images.find_images(*settings.images))
    if len(files) < 2:
        raise UserError(f"--images: there are no two pictures in {', '.join(map(str, settings.images))}")
    count, names = len(files) * (len(files) - 1) // 2, list(files)
    if settings.pairs is not None:
        count, names = survey(settings.pairs)
    found = [name for name in names if name in files]
    if not found:
        raise UserError(f"none of the pictures that {settings.pairs} names is in --images: is it the right folder?")
    print(f"{count:,} pairs of {len(names):,} pictures, with {run.folder}", flush=True)
    painters = painters_of(settings.labels) if settings.labels else {}
    score, head = choose_score(run, settings)
    shown = [files[name] for name in found]
    embeddings, failed = vectors_of(run, shown, settings, score, head)
    both = [embeddings]
    if other is not None:
        _, head = choose_score(other, replace(settings, score=score))  # type: ignore[arg-type]
        both.append(vectors_of(other, shown, settings, score, head)[0])
    known = collect(settings, found, count, both, painters)
    print(f"wrote {count:,} scores to {settings.output}", flush=True)
    if settings.labels is not None:
        report(known, run, other)
    missing = [name for name in names if name not in files]
    if missing:
        print(f"{len(missing):,} pictures are not in --images ({_some(missing)})", file=sys.stderr)
    if failed:
        reasons = [f"{file.name}: {why}" for file, why in failed.items()]
        print(f"{len(failed):,} pictures could not be read ({_some(reasons)})", file=sys.stderr)
    if missing or failed:
        print("their pairs have the score of a painting of which nothing is known", file=sys.stderr)
    return 1 if missing or failed else 0


def _check(settings: Settings) -> None:
    command_line.check_numbers(settings, batch_size=1, threads=0)
    parent = settings.output.absolute().parent
    if not parent.is_dir() or settings.output.is_dir() or settings.output.suffix.lower() != ".csv":
        raise UserError(f"--output {settings.output} cannot be written: name a .csv in a folder that is there")
    for option in ("pairs", "labels"):
        if (path := getattr(settings, option)) is not None and not path.exists():
            raise UserError(f"--{option} {path} is not there")
    if settings.pairs is not None and settings.output.resolve() == settings.pairs.resolve():
        raise UserError(f"--output {settings.output} is the table of the pairs itself: name another file")
    if settings.against is not None and settings.labels is None:
        raise UserError("--against needs --labels: two models are compared by their AUC")


def _some(words: Sequence[str]) -> str:
    return ", ".join(words[:3]) + (" ..." if len(words) > 3 else "")


# ------------------------------------------------------------------------------------------------- the tables


def by_name(files: "Sequence[ImageFile]") -> "dict[str, ImageFile]":
    """Pictures by their bare names. Of two, a replacement (the competition has some) goes first, then a plain file."""
    found: dict[str, ImageFile] = {}
    for file in sorted(files, key=lambda f: ("replacement" not in str(f).lower(), bool(f.member))):
        found.setdefault(file.name, file)
    if len(found) < len(files):
        print(f"note: {len(files) - len(found):,} pictures have the name of another, which is used", flush=True)
    return found


def chunks(file: Path) -> "Iterator[pd.DataFrame]":
    """The table of the pairs, up to 200,000 rows at once; index is str, the images are categories of str.

    Raises `UserError` for a table that lacks a column, is no CSV or is torn.
    """
    import pandas as pd

    kinds: dict[str, Any] = {"index": str, "image1": "category", "image2": "category"}
    row = 1  # the header's
    try:
        with warnings.catch_warnings(action="error", category=pd.errors.ParserWarning):  # rows longer than the header
            header = list(pd.read_csv(file, nrows=1, index_col=False, dtype=str))
        if lacking := [name for name in COLUMNS if name not in header]:
            raise UserError(f"{file} has no column {lacking[0]}: it needs {','.join(COLUMNS)}, it has {header}")
        with pd.read_csv(file, dtype=kinds, index_col=False, na_filter=False, chunksize=CHUNK) as reader:
            for table in reader:
                for name in COLUMNS:
                    # An empty cell, in which pandas also turns a cell that a short row does not have.
                    empty = (table[name] == "") | table[name].isna()
                    if empty.any():
                        where = row + 1 + int(empty.to_numpy().argmax())
                        raise UserError(f"{file} is torn: row {where:,} has no {name}; get a fresh copy of it")
                row += len(table)
                yield table
    except UserError:
        raise
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, pd.errors.ParserWarning) as error:
        raise UserError(f"{file} cannot be read behind row {row:,} ({str(error).strip()}): get a fresh copy") from error


def survey(file: Path) -> tuple[int, list[str]]:
    """How many pairs there are, and the names of their pictures, in order of appearance; the whole table is checked."""
    from tqdm import tqdm

    count, names = 0, dict[str, None]()
    with tqdm(desc=f"reading {file.name}", unit=" pairs", unit_scale=True, mininterval=0.5, delay=1) as progress:
        for table in chunks(file):
            for column in COLUMNS[1:]:
                names.update(dict.fromkeys(map(bare, table[column].cat.categories)))
            count += len(table)
            progress.update(len(table))
    if not count:
        raise UserError(f"{file} has no pairs: it needs rows of {','.join(COLUMNS)}")
    return count, list(names)


def bare(name: str) -> str:
    """The file name at the end of a path."""
    return name.rsplit("/", 1)[-1]


Chunk = tuple[Sequence[str], "np.ndarray", "np.ndarray"]
"""What stands before the score in each row, and the numbers of the two pictures; -1: nothing is known of it."""


def read_pairs(file: Path, names: Sequence[str]) -> Iterator[Chunk]:
    """The pairs of a table in chunks; the pictures are numbered as in `names`."""
    import numpy as np

    number = {name: k for k, name in enumerate(names)}
    for table in chunks(file):
        of_image = []
        for column in COLUMNS[1:]:
            cells = table[column].cat
            numbers = np.array([number.get(bare(name), -1) for name in cells.categories], np.int64)
            of_image.append(numbers[cells.codes])
        yield quoted(table["index"].tolist()), of_image[0], of_image[1]


def quoted(cells: Sequence[str]) -> Sequence[str]:
    """As they stand in a CSV."""
    special = set(',"\r\n')
    if special.isdisjoint("".join(cells)):
        return cells
    return [cell if special.isdisjoint(cell) else '"' + cell.replace('"', '""') + '"' for cell in cells]


def all_pairs(names: Sequence[str]) -> Iterator[Chunk]:
    """Every two of the pictures, in chunks."""
    import numpy as np

    rows = max(1, CHUNK // max(1, len(names)))
    cells = quoted(names)
    for start in range(0, len(names), rows):
        first, second = np.triu_indices(rows, start + 1, len(names))
        first += start
        if len(first):
            yield (
                [f"{cells[a]},{cells[b]}" for a, b in zip(first.tolist(), second.tolist(), strict=True)],
                first,
                second,
            )


def painters_of(place: Path) -> dict[str, str]:
    """Who painted what, by the bare name of the picture; those not known are left out. Raises `UserError`.

    So are names that pictures of several painters have (`Degas/1.jpg`, `Monet/1.jpg`): which is meant is not known.
    """
    from painters_mtl.data.catalog import read_catalog
    from painters_mtl.data.columns import ALIASES
    from painters_mtl.data.csv_table import read_csv
    from painters_mtl.data.values import clean

    if place.is_dir():
        table = read_catalog(place).table
        rows = zip(map(bare, table["id"]), table["painter"], strict=True)
    else:
        table = read_csv(place, [])
        columns = [next((n for n in ALIASES[name] if n in table), "") for name in ("filename", "painter")]
        if not all(columns):
            raise UserError(
                f"--labels {place} needs the columns filename and painter; it has {', '.join(table.columns)}"
            )
        rows = zip(map(bare, table[columns[0]]), map(clean, table[columns[1]]), strict=True)
    found: dict[str, set[str]] = {}
    for name, painter in rows:
        found.setdefault(name, set()).add(painter)
    if doubtful := [name for name, painters in found.items() if len(painters) > 1]:
        print(
            f"note: {len(doubtful):,} names in {place} have several painters ({_some(doubtful)}); left out", flush=True
        )
    return {name: painter for name, (painter, *others) in found.items() if painter and not others}


# ------------------------------------------------------------------------------------------------- the scores


def vectors_of(
    run: "Run", files: "Sequence[ImageFile]", settings: Settings, score: str, head: "PainterHead | None"
) -> "tuple[np.ndarray, Mapping[ImageFile, str]]":
    """Vectors of the pictures, float64 (files + 1, channels), and why some could not be read.

    Theirs is that of "nothing known", which is also the last.
    """
    import numpy as np

    from painters_mtl.inference import embeddings, painter_pairs

    found = embeddings.compute(run, files, settings.cache, settings.batch_size, settings.threads)
    if len(found.errors) == len(files):
        raise UserError(f"none of the {len(files):,} pictures can be read; see python -m painters_mtl.check")
    features = np.stack([one.features for one in found if one.features is not None])
    embedded = painter_pairs.embed(score, features, run, head)
    if not found.errors:
        return embedded, found.errors
    row = np.full(len(files) + 1, len(features))
    row[[k for k, file in enumerate(files) if file not in found.errors]] = np.arange(len(features))
    return embedded[row], found.errors


def choose_score(run: "Run", settings: Settings) -> "tuple[str, PainterHead | None]":
    """The score to take, and the head for "learned", which is made now if there is none."""
    from painters_mtl.inference import painter_pairs

    if settings.score in ("cosine", "product"):
        return settings.score, None
    head = painter_pairs.load_head(run)
    if head is None:
        try:
            head = painter_pairs.learn(run, settings.data, settings.cache)
        except UserError as error:
            if settings.score == "learned" or settings.data is not None:
                raise
            print(f"note: no score can be learned ({error}); using --score cosine", flush=True)
            return "cosine", None
    for name, (seen, unseen, _) in head.validation.items():
        others = f"{unseen:.3f} of those kept out of it" if not math.isnan(unseen) else "too few were kept out of it"
        print(f"{run.folder}, validation: {name}: AUC {seen:.3f} of painters in training, {others}")
    score = head.best if settings.score == "best" else "learned"
    print(f"{run.folder}: using --score {score}", flush=True)
    return score, head


@dataclass(frozen=True)
class LabelledPairs:
    """The pairs of which both painters are known, as far as they were asked for."""

    scores: "list[np.ndarray]"  # float64 (pairs,), by each model
    one: "np.ndarray"  # int32 (pairs,): the painters, numbered as in `painters`
    other: "np.ndarray"
    painters: list[str]


def collect(
    settings: Settings, names: Sequence[str], count: int, vectors: "Sequence[np.ndarray]", painters: Mapping[str, str]
) -> LabelledPairs:
    """Score all pairs, write the table, whole, and keep those of known painters (16 bytes each).

    Args:
        names: the pictures.
        count: how many pairs there are, for the progress bar.
        vectors: of the pictures and of "nothing known", by each model; the first model's scores are written.
        painters: {name: painter}, of those known.
    """
    import numpy as np
    from tqdm import tqdm

    from painters_mtl.common.files import atomic_write
    from painters_mtl.inference.painter_pairs import inner_products

    different = sorted({painters[name] for name in names if name in painters})
    number = {painter: k for k, painter in enumerate(different)}
    by = np.array([number.get(painters.get(name, ""), -1) for name in names] + [-1], np.int32)
    kept: list[list[np.ndarray]] = []
    rows = read_pairs(settings.pairs, names) if settings.pairs else all_pairs(names)
    with (
        atomic_write(settings.output) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as out,
        tqdm(total=count, desc="scoring", unit=" pairs", unit_scale=True, mininterval=0.5) as progress,
    ):
        out.write("index,sameArtist\n" if settings.pairs else "image1,image2,sameArtist\n")
        for before, first, second in rows:
            scores = [inner_products(each, first, second) for each in vectors]
            out.write("".join(map("%s,%.9g\n".__mod__, zip(before, scores[0].tolist(), strict=True))))
            said = (by[first] >= 0) & (by[second] >= 0)
            if said.any():
                kept.append([by[first[said]], by[second[said]], *(each[said] for each in scores)])
            progress.update(len(before))
    nothing = [np.zeros(0, np.int32)] * 2 + [np.zeros(0)] * len(vectors)
    one, other, *scored = [np.concatenate(parts) for parts in zip(nothing, *kept, strict=True)]
    return LabelledPairs(scored, one, other, different)


def report(known: LabelledPairs, run: "Run", against: "Run | None" = None) -> None:
    """Print the AUC of each group of painters, and the difference of two models."""
    import numpy as np

    from painters_mtl.inference.pair_auc import Pairs, auc_draws, intervals, table

    trained = trained_painters(run)
    pairs = Pairs(known.one, known.other, np.array([name in trained for name in known.painters], bool))
    if not (known.one == known.other).any():
        print("no AUC: no pair is known to be by one painter (are these the --labels of these pictures?)")
        return
    found = [auc_draws(scores, pairs) for scores in known.scores]
    print(f"{run.folder}\n{table(intervals(found[0]), pairs)}")
    if against is not None:
        print(f"{against.folder}\n{table(intervals(found[1]), pairs)}")
        print(f"difference: {run.folder} less {against.folder}\n{table(intervals(*found), pairs)}")


def trained_painters(run: "Run") -> set[str]:
    """The painters with works in the training of a run."""
    from painters_mtl.data.csv_table import read_csv
    from painters_mtl.runs.run import SPLIT

    if not (run.folder / SPLIT).is_file():
        raise UserError(f"{run.folder} lacks {SPLIT}, so it is not known which painters it was trained on")
    rows = read_csv(run.folder / SPLIT, [])
    if not {"split", "painter"} <= set(rows):
        raise UserError(f"{run.folder / SPLIT} is damaged: it lacks the columns split and painter")
    return set(rows["painter"][rows["split"] == "train"])


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    return command_line.run_command(Settings, pairs, argv, "painters-mtl pairs", __doc__)


if __name__ == "__main__":
    sys.exit(main())
