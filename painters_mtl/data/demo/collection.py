"""The demo: paintings drawn by code from a seed, so that everything runs without a download.

A painting is made as a painter makes one. A *scene* (the genre: what is painted, `scenes`) puts flat shapes on the
canvas in the painter's palette; the *style* (how it is painted, `styles`) paints them over in dabs, dots, facets
or washes; and the painter's *habits* (weave, varnish, margin, signature) finish it. This module says which works there
are, and writes them: eight invented painters, ten styles and twenty-three genres, with the dependences and the missing
labels of the real data. The painter tells the style in 77 % of the works and the genre in 41 %.

    from painters_mtl.data.demo.collection import make_demo
    make_demo(Path("data/demo"))  # 2,000 paintings, short side 160 px, and labels.csv
"""

import csv
import json
import multiprocessing
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from painters_mtl.common.errors import UserError
from painters_mtl.common.files import atomic_write, file_lock, write_text
from painters_mtl.common.messages import ProgressBar
from painters_mtl.data.demo import styles as demo_styles

DEMO_VERSION = 1  # raise it when the pictures or labels change, so that old folders are drawn anew

STYLE_GIVEN_PAINTER = 0.77  # share of a painter's works in the painter's own style
GENRE_GIVEN_PAINTER = 0.41  # and in the favourite genre
MISSING = {"artist": 0.12, "style": 0.15, "genre": 0.20}  # share of empty cells
COPIES = 0.02  # share of works that repeat another one, with a slightly different crop and brightness

_COLUMNS = ("filename", "artist", "title", "style", "genre", "date")

# fmt: off
# A style's weight among the works outside a painter's own style: three styles live only there, so they weigh more.
_STYLE_WEIGHTS = {
    "Impressionism": 1.0, "Realism": 1.2, "Expressionism": 1.2, "Cubism": 1.0, "Fauvism": 1.0,
    "Ukiyo-e": 1.0, "Abstract Expressionism": 1.2, "Pointillism": 5.0, "Art Nouveau (Modern)": 4.0,
    "Ink and wash painting": 3.2,
}

# The same for genres, with nouns for the titles.
_GENRES: dict[str, tuple[float, tuple[str, ...]]] = {
    "landscape": (8.0, ("Hills", "The valley", "Poplars", "The winding path", "Orchard")),
    "portrait": (7.5, ("Portrait of a lady", "Young man", "The notary", "Head of a woman", "Portrait of M. K.")),
    "genre painting": (6.5, ("The card players", "Supper", "Wedding dance", "The toast", "Market women")),
    "cityscape": (6.0, ("Rooftops", "The boulevard", "Street", "Lit windows", "The old quarter")),
    "religious painting": (5.5, ("Saint Odile", "The annunciation", "Holy hermit", "Altarpiece", "The blessing")),
    "abstract": (5.0, ("Composition", "Rhythm", "Untitled", "Counterpoint", "Tension")),
    "still life": (5.0, ("Still life with pears", "The blue bottle", "Apples", "Kitchen table", "Breakfast")),
    "marina": (4.8, ("Harbour", "Fishing boats", "Sails", "The regatta", "Off the cape")),
    "flower painting": (4.5, ("Bouquet", "Peonies", "Vase of asters", "Roses", "Garden flowers")),
    "animal painting": (4.2, ("The brindled cow", "Grazing horse", "The mare", "Heifer", "Cattle")),
    "interior": (4.0, ("The yellow room", "Bedroom", "The window", "Quiet parlour", "Studio")),
    "illustration": (3.8, ("Page from a fairy tale", "The castle", "Frontispiece", "Chapter one", "The tower")),
    "sketch and study": (3.7, ("Study of heads", "Sketch", "Figure studies", "Sheet of studies", "Croquis")),
    "symbolic painting": (3.5, ("The watching eye", "Dream", "The threshold", "Oracle", "Silence")),
    "self-portrait": (3.4, ("Self-portrait", "Self-portrait with easel", "The artist", "Myself", "At the easel")),
    "mythological painting": (3.2, ("The fall of Icarus", "Daedalus", "Nike", "Zephyr", "The temple of Aeolus")),
    "bird-and-flower painting": (3.0, ("Bullfinch and plum", "Bird on a branch", "Cherry", "Wagtail", "Warbler")),
    "cloudscape": (2.9, ("Clouds", "Cumulus", "The great sky", "Study of clouds", "Clearing weather")),
    "design": (2.8, ("Rosette", "Design for a ceiling", "Medallion", "Ornament", "Window design")),
    "sculpture": (2.7, ("Marble bust", "The plaster cast", "Bust of a sage", "Antique head", "On the pedestal")),
    "battle painting": (2.6, ("The battle", "Cavalry charge", "Lances", "The siege", "Skirmish")),
    "wildlife painting": (2.5, ("Stag", "Deer in the forest", "The old buck", "Forest edge", "Rutting stag")),
    "tessellation": (2.4, ("Tiling", "Lozenges", "Regular division", "Mosaic", "Pattern")),
}

_QUALIFIERS = (
    "at dusk", "at dawn", "at noon", "by lamplight", "by moonlight", "in the fog", "in the wind", "after the rain",
    "before the storm", "in spring", "in April", "in summer", "in October", "in winter", "on a Sunday", "in silence",
    "in grey", "in blue", "in red and gold", "with shadows", "from memory", "for a friend", "at low light",
    "near Vellmoor", "at Saint-Orens", "at Quai Verlaine", "at Hollandsveer", "at Castelmirro",
)
# fmt: on

PAINTERS = tuple(p.name for p in demo_styles.HANDS)
STYLES = tuple(_STYLE_WEIGHTS)
GENRES = tuple(_GENRES)

# ---------------------------------------------------------------------------------------------------------------------
# Labels: which works there are.


@dataclass(frozen=True)
class Work:
    """One painting to draw: its number, the numbers of its classes, and the work it repeats (most repeat none)."""

    index: int
    painter: int
    style: int
    genre: int
    copy_of: int | None = None


def _apportion(weights: Sequence[float], total: int) -> np.ndarray:
    """Whole numbers that add up to `total` and follow `weights` (largest remainders)."""
    exact = np.array(weights, float) / sum(weights) * total
    counts = np.floor(exact).astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: total - counts.sum()]] += 1
    return counts


def _favouring(rng: np.random.Generator, favourite: int, share: float, weights: Sequence[float], n: int) -> np.ndarray:
    """`n` class numbers in random order: the favourite in `share` of them, the others by weight."""
    counts = np.zeros(len(weights), int)
    others = [i for i in range(len(weights)) if i != favourite]
    counts[favourite] = round(share * n)
    counts[others] = _apportion([weights[i] for i in others], n - counts[favourite])
    return rng.permutation(np.repeat(np.arange(len(weights)), counts))


def plan_works(count: int, seed: int = 0) -> list[Work]:
    """The true labels of `count` works; `labels_table` hides some. By quotas, so that every seed has the same mix."""
    rng = np.random.default_rng([seed, 0])
    genre_weights = [weight for weight, _ in _GENRES.values()]
    rows: list[tuple[int, int, int]] = []
    quotas = _apportion([p.share for p in demo_styles.HANDS], count)
    for i, (painter, n) in enumerate(zip(demo_styles.HANDS, quotas, strict=True)):
        style, genre = STYLES.index(painter.style), GENRES.index(painter.genre)
        styles = _favouring(rng, style, STYLE_GIVEN_PAINTER, list(_STYLE_WEIGHTS.values()), n)
        genres = _favouring(rng, genre, GENRE_GIVEN_PAINTER, genre_weights, n)
        rows += [(i, int(s), int(g)) for s, g in zip(styles, genres, strict=True)]
    order = rng.permutation(count)
    works = [Work(index, *rows[row]) for index, row in enumerate(order)]
    copies, sources = np.split(rng.permutation(count)[: 2 * round(COPIES * count)].reshape(2, -1), 2)
    for index, source in zip(copies.ravel().tolist(), sources.ravel().tolist(), strict=True):
        works[index] = Work(index, works[source].painter, works[source].style, works[source].genre, source)
    return works


def _title(rng: np.random.Generator, genre: str, seen: Counter[str]) -> str:
    """A title such as "Harbour at dusk"; a repeated one is numbered, as painters number a series."""
    title = f"{rng.choice(_GENRES[genre][1])} {rng.choice(_QUALIFIERS)}"
    seen[title] += 1
    return title if seen[title] == 1 else f"{title}, No. {seen[title]}"


def _date(rng: np.random.Generator, years: tuple[int, int]) -> str:
    """A year as the competition's tables write it: 1888, 1888.0, c.1888 or nothing."""
    return str(rng.choice(["{}", "{}.0", "c.{}", ""], p=[0.45, 0.2, 0.1, 0.25])).format(rng.integers(*years))


def _evenly(rng: np.random.Generator, classes: np.ndarray, share: float) -> np.ndarray:
    """Pick a share of the works, (n,) bool, in about equal parts from all classes (3, n)."""
    order = np.lexsort((rng.random(classes.shape[1]), *classes))
    picked = np.zeros(classes.shape[1], bool)
    picked[order] = np.diff(np.floor(np.arange(len(order) + 1) * share + rng.random())) > 0
    return picked


def labels_table(works: Sequence[Work], seed: int = 0) -> pd.DataFrame:
    """The rows of `labels.csv`: filename, artist, title, style, genre, date; an empty string is a missing label."""
    rng = np.random.default_rng([seed, 1])
    classes = np.array([(work.painter, work.style, work.genre) for work in works]).T
    hidden = {column: _evenly(rng, classes, share) for column, share in MISSING.items()}
    copies = [(work.index, work.copy_of) for work in works if work.copy_of is not None]
    for index, source in copies:  # a copy has the artist and the title of its source
        hidden["artist"][index] = hidden["artist"][source]
    hidden["genre"] &= ~(hidden["artist"] & hidden["style"])  # no row without any label

    seen: Counter[str] = Counter()
    rows = [
        {
            "filename": f"images/{work.index + 1:05d}.jpg",
            "artist": PAINTERS[work.painter],
            "title": _title(rng, GENRES[work.genre], seen),
            "style": STYLES[work.style],
            "genre": GENRES[work.genre],
            "date": _date(rng, demo_styles.HANDS[work.painter].years),
        }
        for work in works
    ]
    for index, source in copies:
        rows[index]["title"] = rows[source]["title"]
    table = pd.DataFrame(rows, columns=_COLUMNS)
    for column, where in hidden.items():
        table.loc[where, column] = ""
    return table


# ---------------------------------------------------------------------------------------------------------------------
# The paintings, and a folder of them.


def paint(work: Work, size: int = 160, seed: int = 0) -> Image.Image:
    """Paint one work: an RGB image whose short side is `size` pixels. Depends on nothing but the arguments."""
    rng = np.random.default_rng([seed, 2, work.index if work.copy_of is None else work.copy_of])
    hand, style, genre = demo_styles.HANDS[work.painter], STYLES[work.style], GENRES[work.genre]
    image = demo_styles.paint(rng, hand, style, genre, size)
    if work.copy_of is None:
        return image
    return demo_styles.another_photograph(np.random.default_rng([seed, 3, work.index]), image)


def _paint_to(folder: Path, size: int, seed: int, work: Work) -> None:
    with atomic_write(folder / f"{work.index + 1:05d}.jpg") as temporary:
        paint(work, size, seed).save(temporary, "JPEG", quality=90)


def _paint_all(folder: Path, works: Sequence[Work], size: int, seed: int, workers: int) -> None:
    task = partial(_paint_to, folder, size, seed)
    bar = partial(ProgressBar, total=len(works), desc="drawing demo paintings", unit=" paintings")
    if workers == 1:
        for _ in bar(map(task, works)):
            pass
        return
    # Forked workers start at once and need no `if __name__ == "__main__"` in the caller; only Linux forks safely.
    # They leave Ctrl-C to this process, which then drops what is not begun.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    with ProcessPoolExecutor(workers, context, signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:
        try:
            for _ in bar(pool.map(task, works, chunksize=8)):
                pass
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def is_unfinished(folder: Path) -> bool:
    """Whether the drawing of a demo was interrupted in a folder, so that `make_demo` would complete it."""
    labels = folder / "labels.csv"
    return labels.is_file() and not (folder / "demo.json").exists() and _is_demo(labels)


def _is_demo(labels: Path) -> bool:
    """Whether a `labels.csv` has the demo's columns and file names, and no painter but the invented ones."""
    with labels.open(encoding="utf-8", errors="replace", newline="") as file:
        rows = csv.DictReader(file)
        return tuple(rows.fieldnames or ()) == _COLUMNS and all(
            row["artist"] in ("", *PAINTERS) and re.fullmatch(r"images/\d{5,}\.jpg", row["filename"]) for row in rows
        )


def _clear(folder: Path) -> None:
    """Remove an older or unfinished demo from `folder`; refuse when it holds anything else."""
    done, labels, images = folder / "demo.json", folder / "labels.csv", folder / "images"
    pictures = sorted(images.iterdir()) if images.is_dir() else []
    if not _is_demo(labels) if labels.exists() else pictures and not done.exists():
        raise UserError(f"{folder} holds pictures that are not the demo's; draw the demo into another folder")
    done.unlink(missing_ok=True)
    for path in pictures:
        if re.fullmatch(r"(\.\d+-)?\d{5,}\.jpg(\.part)?", path.name):
            path.unlink()


def make_demo(folder: Path, count: int = 2000, size: int = 160, seed: int = 0, workers: int | None = None) -> Path:
    """Draw `count` paintings with a short side of `size` pixels into `folder`, and return `folder`.

    Writes `labels.csv`, `images/00001.jpg` ... and at last `demo.json`, by which a finished demo is recognised: with
    the same settings there is then nothing to do. The same `count`, `size` and `seed` give the same bytes, whatever the
    number of `workers` (processes; by default one a processor).
    """
    if count < 1 or size < 32 or seed < 0:
        raise UserError(f"the demo needs count >= 1, size >= 32 and seed >= 0 (received {count}, {size}, {seed})")
    folder = Path(folder)
    settings = {"version": DEMO_VERSION, "count": count, "size": size, "seed": seed}
    done = folder / "demo.json"
    if done.exists() and done.read_text(encoding="utf-8") == json.dumps(settings):
        return folder

    folder.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(folder.with_name(f".{folder.name}.lock"), f"drawing the demo into {folder}", wait=True):
        if done.exists() and done.read_text(encoding="utf-8") == json.dumps(settings):  # by the one that was waited for
            return folder
        _clear(folder)
        works = plan_works(count, seed)
        (folder / "images").mkdir(parents=True, exist_ok=True)
        with atomic_write(
            folder / "labels.csv"
        ) as temporary:  # first, so that an unfinished folder is known as the demo's
            labels_table(works, seed).to_csv(temporary, index=False, lineterminator="\n", encoding="utf-8")
        _paint_all(folder / "images", works, size, seed, min(workers or os.cpu_count() or 1, count))
        write_text(done, json.dumps(settings))
    return folder
