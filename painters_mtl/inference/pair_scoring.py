"""Scores for pairs of pictures, written as they come, and how well they tell painters apart."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import numpy as np

from painters_mtl.common.errors import UserError
from painters_mtl.common.messages import ProgressBar, say
from painters_mtl.inference import embeddings, painter_pairs
from painters_mtl.inference.pair_auc import Pairs, auc_draws, intervals, table
from painters_mtl.inference.pair_tables import PairChunk

if TYPE_CHECKING:
    from painters_mtl.images.files import ImageFile
    from painters_mtl.inference.painter_pairs import PainterHead
    from painters_mtl.runs.run import Run


@dataclass(frozen=True)
class ScoreOptions:
    """How pictures become vectors whose inner products are the scores."""

    score: str = "best"  # "learned", "cosine", "product", or "best": by validation paintings
    data: Path | None = None  # the paintings of the training, for the learned score; None: where they were
    cache: Path = embeddings.CACHE
    batch_size: int = 32
    threads: int = 0


@dataclass(frozen=True)
class PairVectors:
    """Vectors of pictures for one model; an unreadable picture's is that of "nothing known", which is also the last."""

    vectors: np.ndarray  # float64 (pictures + 1, channels)
    errors: "Mapping[ImageFile, str]"  # why pictures could not be read
    score: str  # the score that was taken


def pair_vectors(run: "Run", files: "Sequence[ImageFile]", options: ScoreOptions) -> PairVectors:
    """The vectors of the pictures, by the score that the options name or that does best; the choice is printed.

    Raises `UserError` where none of the pictures can be read.
    """
    score, head = choose_score(run, options)
    computed = embeddings.compute(run, files, options.cache, options.batch_size, options.threads)
    if len(computed.errors) == len(files):
        raise UserError(f"none of the {len(files):,} pictures can be read; see painters-mtl check")
    features = np.stack([vector.features for vector in computed if vector.features is not None])
    vectors = painter_pairs.score_vectors(score, features, run, head)
    if computed.errors:
        rows = np.full(len(files) + 1, len(features))
        rows[[k for k, file in enumerate(files) if file not in computed.errors]] = np.arange(len(features))
        vectors = vectors[rows]
    return PairVectors(vectors, computed.errors, score)


def choose_score(run: "Run", options: ScoreOptions) -> "tuple[str, PainterHead | None]":
    """The score to take, and the head for "learned", which is made now if there is none.

    Raises `UserError` where the score cannot be made.
    """
    if options.score == "product" and "painter" not in run.tasks:
        raise UserError(f"--score product multiplies the painters' softmaxes, and {run.title} has no painter task")
    if options.score in ("cosine", "product"):
        return options.score, None
    head = painter_pairs.load_head(run)
    if head is None:
        try:
            head = painter_pairs.learn(run, options.data, options.cache)
        except UserError as error:
            if options.score == "learned" or options.data is not None:
                raise
            say(f"note: no score can be learned ({error}); using --score cosine")
            return "cosine", None
    for name, (seen, unseen, _) in head.validation.items():
        others = "too few painters were kept out of training to measure theirs"
        if not math.isnan(unseen):
            others = f"{unseen:.3f} for painters kept out of training"
        say(f"score {name}, validation: AUC {seen:.3f} for painters in training, {others}")
    score = head.best if options.score == "best" else "learned"
    say(f"{run.title}: using --score {score}")
    return score, head


@dataclass(frozen=True)
class LabelledPairs:
    """The pairs of which both painters are known."""

    scores: list[np.ndarray]  # float64 (pairs,), by each model
    one: np.ndarray  # int32 (pairs,): the painters, numbered as in `painters`
    other: np.ndarray
    painters: list[str]


def write_scores(
    out: TextIO,
    chunks: Iterable[PairChunk],
    count: int,
    models: Sequence[PairVectors],
    painters: Sequence[str],
) -> LabelledPairs:
    """Score all pairs, write a row for each, and keep those of known painters (16 bytes each).

    Args:
        out: gets what stands before the score, a comma and the first model's score.
        count: how many pairs there are, for the progress bar.
        models: the vectors of the pictures, by each model.
        painters: of the pictures; "": not known.
    """
    names = sorted({painter for painter in painters if painter})
    number = {painter: k for k, painter in enumerate(names)} | {"": -1}
    numbers = np.array([number[painter] for painter in painters] + [-1], np.int32)
    kept: list[list[np.ndarray]] = []
    with ProgressBar(total=count, desc="scoring", unit=" pairs", unit_scale=True) as progress:
        for before, first, second in chunks:
            scores = [painter_pairs.inner_products(model.vectors, first, second) for model in models]
            out.write("".join(map("%s,%.9g\n".__mod__, zip(before, scores[0].tolist(), strict=True))))
            both_labelled = (numbers[first] >= 0) & (numbers[second] >= 0)
            if both_labelled.any():
                kept.append(
                    [
                        numbers[first[both_labelled]],
                        numbers[second[both_labelled]],
                        *(each[both_labelled] for each in scores),
                    ]
                )
            progress.update(len(before))
    nothing = [np.zeros(0, np.int32)] * 2 + [np.zeros(0)] * len(models)
    one, other, *scored = [np.concatenate(arrays) for arrays in zip(nothing, *kept, strict=True)]
    return LabelledPairs(scored, one, other, names)


def print_auc(labelled: LabelledPairs, trained: set[str], run: "Run", against: "Run | None" = None) -> None:
    """Print the AUC of each group of painters, and with a second model the difference.

    Args:
        trained: the painters with works in the training of `run`.
    """
    from painters_mtl.data.values import spelling_key

    trained = set(map(spelling_key, trained))
    in_training = np.array([spelling_key(name) in trained for name in labelled.painters], bool)
    pairs = Pairs(labelled.one, labelled.other, in_training)
    if not (labelled.one == labelled.other).any():
        print("no AUC: no pair is known to be by one painter (are these the --labels of these pictures?)")
        return
    draws = [auc_draws(scores, pairs) for scores in labelled.scores]
    print(f"{run.folder}\n{table(intervals(draws[0], pairs), pairs)}")
    if against is not None:
        print(f"{against.folder}\n{table(intervals(draws[1], pairs), pairs)}")
        print(f"difference: {run.folder} less {against.folder}\n{table(intervals(draws[0], pairs, draws[1]), pairs)}")


def trained_works(run: "Run", files: Iterable["ImageFile"]) -> int:
    """How many of the pictures are works that the run was trained on: the very files, where its config.json says.

    0 for a packaged model, which does not say it.
    """
    from painters_mtl.data.csv_table import read_csv
    from painters_mtl.images.files import real_paths
    from painters_mtl.runs.run import SPLIT
    from painters_mtl.runs.training_data import paintings_of_run

    if run.packaged or not (run.folder / SPLIT).is_file():
        return 0
    rows = read_csv(run.folder / SPLIT, [])
    ids = set(rows["id"][rows["split"] == "train"])
    of_run = real_paths(str(file) for file in paintings_of_run(run))
    trained = {real for path, real in of_run.items() if _ends(path) & ids}
    return sum(real in trained for real in real_paths(map(str, files)).values())


def _ends(path: str) -> set[str]:
    """The path without its first folder, without its first two ..."""
    parts = path.split("/")
    return {"/".join(parts[k:]) for k in range(1, len(parts))}


def trained_painters(run: "Run") -> set[str]:
    """The painters with works in the training of a run; of a packaged model those with 10 works, which its head knows.

    Raises `UserError` where nothing says who they are.
    """
    if run.packaged and (head := painter_pairs.load_head(run)) is not None:
        return set(head.painters)
    from painters_mtl.data.csv_table import read_csv
    from painters_mtl.runs.run import SPLIT

    if not (run.folder / SPLIT).is_file():
        raise UserError(f"{run.folder} lacks {SPLIT}, so it is not known which painters it was trained on")
    rows = read_csv(run.folder / SPLIT, [])
    if not {"split", "painter"} <= set(rows):
        raise UserError(f"{run.folder / SPLIT} is damaged: it lacks the columns split and painter")
    return set(rows["painter"][rows["split"] == "train"])
