"""Are two paintings by one painter? Vectors whose inner product says so, and the head that learns them.

Three scores, all inner products of two vectors of length at most 1:

- product: of the painter softmaxes, the probability that two draws from them agree (the winner of "Painter by Numbers"
  did this, with 18 networks over all 1,584 painters).
- cosine: of the features that the heads share.
- learned: product again, with a softmax over every painter of 10 works or more, made on the features after training.
  It was the best of what was tried: linear discriminant analysis, within-class whitening, PLDA, cosine of the logits.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from painters_mtl.common import lazy_imports
from painters_mtl.common.errors import UserError
from painters_mtl.common.messages import counted, say
from painters_mtl.common.small_floats import unpacked
from painters_mtl.data.csv_table import read_csv
from painters_mtl.inference.nearest import unit_vectors
from painters_mtl.inference.pair_auc import Pairs, auc
from painters_mtl.runs.network_files import write_arrays
from painters_mtl.runs.run import SPLIT, Run
from painters_mtl.runs.training_data import run_data_settings

if TYPE_CHECKING:
    from painters_mtl.data.dataset import Dataset

HEAD = "same_painter.npz"  # in the run folder
GRID = 2.0**26
DENSE = 8  # a block of all rows with all columns is computed where at most so many of its cells are not asked for
BLOCK = 4096  # pairs at once where it is not
TEMPERATURES = (1.0, 1.5, 2.0, 3.0)
UPDATES = 600  # of the head, at least
MOST = 3_000  # validation paintings; more make millions of pairs and no better choice
MOST_MISSING = 0.01  # of the training's works: a few files may be gone, a disk that is not mounted is more
FEWEST = 30  # pairs by one painter; an AUC from fewer chooses by chance


# ------------------------------------------------------------------------------------------------- scores


def round_to_grid(vectors: np.ndarray) -> np.ndarray:
    """Vectors of length at most 1 in multiples of 2^-26, float64.

    A product of two such numbers is a multiple of 2^-52, and every partial sum of an inner product lies within -2 and
    2: a float64 holds it exactly. So the scores do not depend on the order of the additions: not on blocks, threads or
    the machine.
    """
    return _onto_grid(np.array(vectors, np.float64))


def _onto_grid(vectors: np.ndarray) -> np.ndarray:
    """The same in place: the vectors of many pictures by many painters are large."""
    vectors *= GRID
    np.round(vectors, out=vectors)
    vectors /= GRID
    return vectors


def softmax(logits: np.ndarray) -> np.ndarray:
    """Along the rows, float64."""
    return special.softmax(np.asarray(logits, np.float64), axis=1)


def inner_products(vectors: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Scores of pairs of rows: float64 (pairs,).

    Args:
        vectors: float64 (rows, channels) from `round_to_grid`.
        first, second: int (pairs,), rows.
    """
    rows, at_row = _distinct(first, len(vectors))
    columns, at_column = _distinct(second, len(vectors))
    if len(rows) * len(columns) <= DENSE * len(first):
        return (vectors[rows] @ vectors[columns].T)[at_row, at_column]
    blocks = [slice(k, k + BLOCK) for k in range(0, len(first), BLOCK)]
    return np.concatenate([np.einsum("nc,nc->n", vectors[first[b]], vectors[second[b]]) for b in blocks])


def _distinct(numbers: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The different numbers below n, and where each one's is among them: `np.unique` without sorting."""
    there = np.zeros(n, bool)
    there[numbers] = True
    return np.flatnonzero(there), (np.cumsum(there) - 1)[numbers]


def score_vectors(score: str, features: np.ndarray, run: Run, head: "PainterHead | None") -> np.ndarray:
    """Vectors of paintings, on the grid: float64 (n, channels); one for "nothing known" is the last, (n + 1).

    It is the mean of the others, so that the score of a pair with it is what a painting scores on average.

    Args:
        features: float32 (n, channels), those that the heads share.
        head: for "learned".
    """
    parts: Iterable[np.ndarray]
    if score == "product":
        softmaxes = painter_softmax(run, features)
        parts, width = [softmaxes], softmaxes.shape[1]
    else:
        blocks = (features[k : k + BLOCK] for k in range(0, len(features), BLOCK))
        if score == "cosine":
            parts, width = map(unit_vectors, blocks), features.shape[1]
        else:
            assert head is not None
            parts, width = map(head.probabilities, blocks), len(head.bias)
    vectors, done = np.empty((len(features) + 1, width)), 0  # once: by all painters of the competition 0.3 GB
    for block in parts:
        vectors[done : done + len(block)] = block
        done += len(block)
    vectors[-1] = vectors[:-1].mean(axis=0)
    return _onto_grid(vectors)


def painter_softmax(run: Run, features: np.ndarray) -> np.ndarray:
    """The calibrated probabilities of the run's painter head: float32 (n, painters)."""
    if "painter" not in run.tasks:
        raise UserError(f"--score product needs painters, and {run.folder} knows none: --score cosine does without")
    lazy_imports.import_tensorflow()
    from painters_mtl.common.iteration import in_batches
    from painters_mtl.evaluation.calibration import apply_temperature
    from painters_mtl.inference.open_network import open_network
    from painters_mtl.network.multitask import heads_model

    heads = heads_model(open_network(run))
    probabilities = [
        np.asarray(heads(features[batch], training=False)["painter"]) for batch in in_batches(len(features), 4096)
    ]
    return apply_temperature(np.concatenate(probabilities), run.temperatures["painter"])


# ------------------------------------------------------------------------------------------------- the head


@dataclass(frozen=True)
class PainterHead:
    """A softmax over many painters on the features, and how the scores did on validation paintings."""

    kernel: np.ndarray  # float32 (channels, painters)
    bias: np.ndarray  # float32 (painters,)
    temperature: float
    painters: tuple[str, ...]
    validation: dict[str, tuple[float, float, float]]  # {score: AUC of seen painters, unseen ones, all}

    @property
    def best(self) -> str:
        """The score to take: the best mean of the AUC for seen and for unseen painters, learned where none is known."""
        return max(self.validation, key=lambda name: _worth(self.validation[name]), default="learned")

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Of the painters: float64 (n, painters)."""
        return softmax((features @ self.kernel + self.bias) / self.temperature)


def _worth(aucs: tuple[float, float, float]) -> float:
    """Seen and unseen painters count alike, though a test set may have few pairs of the second; -1: not known."""
    measured = [v for v in aucs[:2] if np.isfinite(v)]
    return float(np.mean(measured)) if measured else -1.0


def save_head(head: PainterHead, run: Run) -> None:
    """Write `same_painter.npz` into the run folder, whole."""
    write_arrays(run.folder / HEAD, head_arrays(head, run.network_checksum()))


def head_arrays(head: PainterHead, network: str) -> dict[str, np.ndarray]:
    """What `same_painter.npz` holds, by name.

    Args:
        network: the checksum of the network that the head belongs to.
    """
    names = list(head.validation)
    return {
        "kernel": head.kernel,
        "bias": head.bias,
        "temperature": np.array(head.temperature),
        "painters": np.array(head.painters, str),
        "scores": np.array(names, str),
        "validation": np.array([head.validation[name] for name in names], np.float64).reshape(len(names), 3),
        "model": np.array(network),
    }


def load_head(run: Run) -> PainterHead | None:
    """What `save_head` wrote for this very network; None where there is none, it is damaged or of another network."""
    try:
        with np.load(run.folder / HEAD, allow_pickle=False) as arrays:
            held = unpacked(arrays)
        if str(held["model"]) != run.network_checksum():
            return None
        validation = {str(n): tuple(map(float, v)) for n, v in zip(held["scores"], held["validation"], strict=True)}
        painters = tuple(map(str, held["painters"]))
        return PainterHead(held["kernel"], held["bias"], float(held["temperature"]), painters, validation)  # type: ignore[arg-type]
    except Exception:  # numpy and zipfile raise whatever they find
        return None


def learn(run: Run, data: Path | None, cache: Path) -> PainterHead:
    """Make the head from the paintings that the run was trained on, choose temperature and score, and keep it there.

    The features are computed once (`features.cached_features`, from the cached images of the training) and kept in the
    cache. The choice is made by the mean of two AUCs, both of validation works: of painters that the training has seen,
    and of those that the split has kept out of it altogether (`split.make_split`). Fewer than 30 pairs by one painter
    do not count.
    Raises `UserError` where the run or its data cannot serve.
    """
    way_out = "take --score cosine" if run.packaged else "give --data, or take --score cosine"
    settings = replace(run_data_settings(run, data, way_out), cache=cache)
    from painters_mtl.data.dataset import prepare

    return learn_on(run, prepare(settings), settings.seed)


def learn_on(run: Run, dataset: "Dataset", seed: int) -> PainterHead:
    """As `learn`, from data that are prepared already: those that the run was trained on, with its split."""
    lazy_imports.import_tensorflow()
    from painters_mtl.inference.open_network import open_network
    from painters_mtl.network.features import cached_features
    from painters_mtl.network.linear_head import FitSettings, fit_linear_head

    features = cached_features(open_network(run), dataset, run.image_size)
    task, labels = dataset.all_painters_task()
    if len(task.classes) < 2:
        raise UserError(f"--score learned needs two painters with 10 training works each; {dataset.folder} has fewer")
    rows = np.flatnonzero((dataset.split == "train") & (labels >= 0))
    settings = FitSettings(UPDATES, "learning to tell painters apart", seed)
    kernel, bias = fit_linear_head(features[rows], labels[rows], len(task.classes), settings)
    head = PainterHead(kernel, bias, 1.0, task.classes, {})
    head = choose(run, head, features[:, 0], dataset)
    missing = _missing_works(run, dataset)
    if missing > MOST_MISSING * len(dataset.table):
        say(f"note: {counted(missing, 'painting')} of the training cannot be found: the head is not kept")
        return head
    try:
        save_head(head, run)
    except OSError as error:  # on Kaggle a run is attached as a data set that nobody can write to
        say(f"note: {run.folder / HEAD} cannot be written ({error.strerror or error}): it is not kept")
    return head


def _missing_works(run: Run, dataset: "Dataset") -> int:
    """How many works of the run's split the data lack, as where half of them is not mounted."""
    split = run.folder / SPLIT
    return max(0, len(read_csv(split, [])) - int((dataset.split != "").sum())) if split.is_file() else 0


def choose(run: Run, head: PainterHead, features: np.ndarray, data: "Dataset") -> PainterHead:
    """The head at the temperature that does best in validation, with what all scores do there; see `learn`."""
    painters = data.table["painter"].to_numpy()
    rows = np.flatnonzero((data.split == "validation") & (painters != ""))
    if len(rows) > MOST:
        rows = np.sort(np.random.default_rng(0).choice(rows, MOST, replace=False))
    _, of_each, numbers = np.unique(painters[rows], return_index=True, return_inverse=True)
    first, second = np.triu_indices(len(rows), 1)
    pairs = Pairs(numbers[first], numbers[second], data.by_trained_painters()[rows[of_each]])
    groups = [pairs.group(name) for name in ("seen", "unseen", "all")]
    enough = [((pairs.one == pairs.other) & g).sum() >= FEWEST for g in groups]

    def worth(vectors: np.ndarray) -> tuple[float, float, float]:
        scores = inner_products(round_to_grid(vectors), first, second)
        seen, unseen, every = (
            float(auc(scores[g], pairs.one[g], pairs.other[g])[0]) if many else float("nan")
            for g, many in zip(groups, enough, strict=True)
        )
        return seen, unseen, every

    heads = [PainterHead(head.kernel, head.bias, t, head.painters, {}) for t in TEMPERATURES]
    tried = [worth(one.probabilities(features[rows])) for one in heads] if len(rows) > 1 else []
    best = max(range(len(tried)), key=lambda k: _worth(tried[k]), default=0)
    aucs = {}
    if tried:
        aucs = {"learned": tried[best], "cosine": worth(unit_vectors(features[rows]))}
        if "painter" in run.tasks:
            aucs["product"] = worth(painter_softmax(run, features[rows]))
    return PainterHead(head.kernel, head.bias, TEMPERATURES[best], head.painters, aucs)
