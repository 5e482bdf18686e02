"""Score pairs of paintings: are both by the same painter? This is the competition's task; it writes a submission.

    painters-mtl pairs --model models/full --pairs submission_info.csv --images data/painter-by-numbers
    painters-mtl pairs --model models/full --images paintings/ --labels paintings.csv

The pairs are `index,image1,image2`, the submission is `index,sameArtist`: a row for each, in the same order. A picture
is found by its file name, in folders and zips, and goes through the network once; what was computed is kept in
data/cache, so that a run that was cut off goes on. Pairs are read and written in chunks, in constant memory. A picture
that is missing or cannot be read is reported, and its pairs get the score of a painting of which nothing is known.
Without --pairs all pairs of the pictures are scored, and written with their names, or with their paths where two have
the same name.

A higher score means "rather the same painter"; --score chooses what the score is made of. The learned score needs the
paintings of the training once (--data, by default those the run names); it is then kept in the run folder as
same_painter.npz. With --labels the AUC is reported too, with 95 % intervals: for painters with works in the training
(for a packaged model: with 10 works in it), for those without, and for all. Exit status: 0 done, 1 some pictures are
missing or could not be read, 2 misuse.
"""

import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from painters_mtl.common import command_line
from painters_mtl.common.errors import UserError
from painters_mtl.common.messages import counted, say

if TYPE_CHECKING:
    from painters_mtl.images.files import ImageFile
    from painters_mtl.inference.pair_scoring import LabelledPairs, PairVectors


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
    """run folder of the model, such as models/full, or paintings: the bundled model; without it the newest run
    of real paintings in models, else the bundled model"""
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
    settings = _with_zipped_table(settings)
    _check(settings)
    from painters_mtl.inference import pair_tables
    from painters_mtl.inference.pair_scoring import (
        ScoreOptions,
        pair_vectors,
        print_auc,
        trained_painters,
        trained_works,
    )
    from painters_mtl.runs.model_choice import open_named_run, open_run_for_pictures

    run = open_run_for_pictures(settings.model)
    against = open_named_run(settings.against, option="--against") if settings.against else None
    if against:
        against.check()
    count, names, files = _pictures(settings)
    say(f"{counted(count, 'pair')} of {len(names):,} pictures, with {run.title}")
    painters = pair_tables.read_painters(settings.labels) if settings.labels else {}
    trained = trained_painters(run) if settings.labels else set[str]()
    options = ScoreOptions(settings.score, settings.data, settings.cache, settings.batch_size, settings.threads)
    models = [pair_vectors(run, list(files.values()), options)]
    if against is not None:
        models.append(pair_vectors(against, list(files.values()), replace(options, score=models[0].score)))
    labelled = _write(settings, files, count, models, painters)
    print(f"wrote {counted(count, 'score')} to {settings.output}", flush=True)
    if settings.labels is not None:
        print_auc(labelled, trained, run, against)
        if works := trained_works(run, files.values()):
            print(f"note: {counted(works, 'picture')} of these trained {run.title}: on such works the AUC is too good")
    return _report_missing([name for name in names if name not in files], models[0].errors)


def _pictures(settings: Settings) -> "tuple[int, list[str], dict[str, ImageFile]]":
    """How many pairs there are, the names of their pictures, and the pictures that are found, by these names."""
    from painters_mtl.images.files import find_images
    from painters_mtl.inference import pair_tables

    images = find_images(*settings.images)
    if len(images) < 2:
        raise UserError(f"--images: there are no two pictures in {', '.join(map(str, settings.images))}")
    if settings.pairs is None:
        files = pair_tables.images_by_shortest_name(images)
        return len(files) * (len(files) - 1) // 2, list(files), files
    count, names = pair_tables.survey_pairs(settings.pairs)
    files = pair_tables.images_of_names(images, names)
    if not files:
        raise UserError(
            f"none of the pictures that {settings.pairs} names ({pair_tables.some(names)}) is in --images: is it the "
            "right folder?"
        )
    return count, names, files


def _with_zipped_table(settings: Settings) -> Settings:
    """The settings, with the table's zip where only that is there: so it comes from the competition."""
    if settings.pairs is not None and not settings.pairs.exists():
        zipped = settings.pairs.with_name(settings.pairs.name + ".zip")
        return replace(settings, pairs=zipped if zipped.exists() else settings.pairs)
    return settings


def _write(
    settings: Settings,
    files: "Mapping[str, ImageFile]",
    count: int,
    models: "list[PairVectors]",
    painters: Mapping[str, str],
) -> "LabelledPairs":
    """Write the table of the scores, whole; returns the pairs of known painters.

    Args:
        files: the pictures, by the names that the table of the pairs has for them.
        painters: by the pictures' names in --labels.
    """
    from painters_mtl.common.files import atomic_write
    from painters_mtl.inference import pair_tables
    from painters_mtl.inference.pair_scoring import write_scores

    counts = Counter(file.name for file in files.values())
    images = {name for name, count in counts.items() if count == 1}
    if painters and len(images) < len(counts):
        note = f"{len(counts) - len(images):,} file names belong to several pictures"
        say(f"note: {note}: their painters are taken as not known, for --labels is read by file names")
    painter_of = {image: painters[name] for name, image in pair_tables.match_names(painters, images).items()}
    if settings.pairs is None:
        header, chunks = "image1,image2,sameArtist\n", pair_tables.all_pairs(list(files))
    else:
        header = "index,sameArtist\n"
        chunks = pair_tables.read_pairs(settings.pairs, {name: k for k, name in enumerate(files)})
    with (
        atomic_write(settings.output) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as out,
    ):
        out.write(header)
        return write_scores(out, chunks, count, models, [painter_of.get(file.name, "") for file in files.values()])


def _report_missing(missing: list[str], errors: "Mapping[ImageFile, str]") -> int:
    """Say which pictures are missing or could not be read; returns the verb's status."""
    from painters_mtl.inference.pair_tables import some

    if missing:
        print(f"not in --images: {counted(len(missing), 'picture')} ({some(missing)})", file=sys.stderr)
    if errors:
        reasons = [f"{file.name}: {reason}" for file, reason in errors.items()]
        print(f"{counted(len(errors), 'picture')} could not be read ({some(reasons)})", file=sys.stderr)
    if missing or errors:
        print("their pairs have the score of a painting of which nothing is known", file=sys.stderr)
    return 1 if missing or errors else 0


def _check(settings: Settings) -> None:
    command_line.check_numbers(settings, batch_size=1, threads=0)
    command_line.check_output("--output", settings.output, (".csv",))
    for option in ("pairs", "labels"):
        if (path := getattr(settings, option)) is not None and not path.exists():
            raise UserError(f"--{option} {path} is not there")
    for option, what in (("pairs", "the table of the pairs"), ("labels", "the table of the --labels")):
        if (path := getattr(settings, option)) is not None and settings.output.resolve() == path.resolve():
            raise UserError(f"--output {settings.output} is {what} itself: name another file")
    if settings.against is not None and settings.labels is None:
        raise UserError("--against needs --labels: two models are compared by their AUC")


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    return command_line.run_command(Settings, pairs, argv, "painters-mtl pairs", __doc__)


if __name__ == "__main__":
    sys.exit(main())
