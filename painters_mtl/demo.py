"""The demo: paintings drawn by code from a seed, so that everything runs without a download.

A painting is made as a painter makes one. A *scene* (the genre: what is painted) puts flat shapes on the canvas in the
painter's palette; a *manner* (the style: how it is painted) paints them over in dabs, dots, facets or washes; and the
painter's *habits* (weave, varnish, margin, signature) finish it. Eight invented painters, ten styles and twenty-three
genres, with the dependences and the missing labels of the real data: the painter tells the style in 77 % of the works
and the genre in 41 %.

    from painters_mtl.demo import make_demo
    make_demo(Path("data/demo"))  # 2,000 paintings, short side 160 px, and labels.csv
"""

import csv
import json
import math
import multiprocessing
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFilter
from tqdm import tqdm

from painters_mtl.errors import UserError

DEMO_VERSION = 1  # raise it when the pictures or labels change, so that old folders are drawn anew

STYLE_GIVEN_PAINTER = 0.77  # share of a painter's works in the painter's own style
GENRE_GIVEN_PAINTER = 0.41  # and in the favourite genre
MISSING = {"artist": 0.12, "style": 0.15, "genre": 0.20}  # share of empty cells
COPIES = 0.02  # share of works that repeat another one, with a slightly different crop and brightness

Point = tuple[float, float]
ROLES = ("sky", "haze", "ground", "leaf", "water", "stone", "skin", "dark", "light", "accent", "second")


@dataclass(frozen=True)
class Painter:
    """An invented painter: how often, what, in which colours and on which canvas."""

    name: str
    share: float  # of all works
    style: str  # the painter's own; see STYLE_GIVEN_PAINTER
    genre: str  # the favourite; see GENRE_GIVEN_PAINTER
    years: tuple[int, int]
    colours: str  # one hex colour a role, in the order of ROLES
    stroke: float = 1.0  # size of the brush
    slant: float = 0.0  # direction of the strokes in radians
    stretch: float = 1.0  # of the canvas: above 1 longer, below 1 squarer
    weave: float = 0.0  # depth of the canvas texture
    varnish: float = 0.0  # yellowing
    vignette: float = 0.0  # darkening towards the corners
    margin: float = 0.0  # width of the margin, as a share of the short side
    margin_role: str = "light"


# fmt: off
_PAINTERS = (
    Painter("Joris van Wolkenaer", 0.16, "Realism", "marina", (1641, 1679),
            "8f8a78 cdb98c 5d452a 4a4a26 4f5a52 80694a d6a878 1f150e f0dcae 93351f c28f35",
            stroke=0.8, stretch=1.2, varnish=0.30, vignette=0.45),
    Painter("Ottavio Bellarosso", 0.15, "Fauvism", "still life", (1902, 1938),
            "f2a65a f9d29a c8502d 8a7d2a 3f7f88 d97b4f f0b48a 5a1424 fff0cf d3202c f7b51d",
            stroke=1.2, slant=0.5, stretch=0.9, margin=0.03, margin_role="dark"),
    Painter("Tadeusz Wrzoskiewicz", 0.14, "Cubism", "portrait", (1908, 1951),
            "a79fb5 cfc7d6 7f6f86 6b7a6f 6c7690 978fa0 cfab9f 2d2438 ece6ee 9a3f78 b8a05a",
            stroke=1.0, slant=-0.8, weave=0.05, vignette=0.15),
    Painter("Sigrún Hvalsdóttir", 0.13, "Expressionism", "landscape", (1919, 1966),
            "5fa8c4 d4ecef 3f6f78 2c7f73 1f5f8b 8aa7b4 d9c9c4 0d2740 f4fdff 6fdf9f b79be0",
            stroke=1.3, slant=0.2, stretch=1.1),
    Painter("Aurélie Montcendre", 0.12, "Impressionism", "flower painting", (1868, 1904),
            "b7c9ee f7e2ea b5cfa0 79ab7d 93b9e0 d8c6d6 f5d0bf 5d5790 fff8ee ea7ca6 f5d671",
            stroke=0.9, slant=0.8, weave=0.03),
    Painter("Kaede Minazuru", 0.11, "Ukiyo-e", "bird-and-flower painting", (1788, 1833),
            "c9d6d2 f1e6cd cdbb8a 5d7f66 2f5785 a8a595 f3dcc0 16264a fbf3dd d5452f e0a93f",
            stroke=0.8, stretch=1.2, varnish=0.10, margin=0.05, margin_role="light"),
    Painter("Edith Larkmoor", 0.10, "Impressionism", "landscape", (1881, 1922),
            "a9cbb0 efe9b8 8fae3f 3f7a35 5b9c8c b3a878 e6c59a 263a1e fcfbe0 d98e2b e8d23c",
            stroke=1.1, slant=1.4, varnish=0.12, vignette=0.10),
    Painter("Ignacio Peñalumbre", 0.09, "Abstract Expressionism", "abstract", (1946, 1983),
            "e8c21a f4e4a0 2a2a2a 6f7a1c 2b4c9b 8e8e86 e0a070 0c0c0e ffffff d1122f ff8a00",
            stroke=1.4, slant=-0.4, stretch=0.85, weave=0.05),
)

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

PAINTERS = tuple(p.name for p in _PAINTERS)
STYLES = tuple(_STYLE_WEIGHTS)
GENRES = tuple(_GENRES)

# ---------------------------------------------------------------------------------------------------------------------
# Labels: which works there are. No drawing here, so that the statistics can be looked at in milliseconds.


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
    for i, (painter, n) in enumerate(zip(_PAINTERS, _apportion([p.share for p in _PAINTERS], count), strict=True)):
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
            "date": _date(rng, _PAINTERS[work.painter].years),
        }
        for work in works
    ]
    for index, source in copies:
        rows[index]["title"] = rows[source]["title"]
    table = pd.DataFrame(rows)
    for column, where in hidden.items():
        table.loc[where, column] = ""
    return table


# ---------------------------------------------------------------------------------------------------------------------
# Arrays of colour: float32 from 0 to 1, shape (height, width, 3).


def _to_image(array: np.ndarray) -> Image.Image:
    return Image.fromarray((np.clip(array, 0, 1) * 255 + 0.5).astype(np.uint8))


def _to_array(image: Image.Image) -> np.ndarray:
    return np.asarray(image, np.float32) / 255


def _blur(array: np.ndarray, radius: float) -> np.ndarray:
    return _to_array(_to_image(array).filter(ImageFilter.GaussianBlur(radius)))


def _grey(colour: np.ndarray) -> np.ndarray:
    """Luminance, the last axis of three kept as one."""
    return 0.30 * colour[..., :1] + 0.59 * colour[..., 1:2] + 0.11 * colour[..., 2:]


def _saturate(colour: np.ndarray, factor: float) -> np.ndarray:
    grey = _grey(colour)
    return grey + (colour - grey) * factor


def _turn_hue(colour: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Rotate colours about the grey axis by `angle` radians (shape of `colour` without its last axis)."""
    cos, sin = np.cos(angle)[..., None], np.sin(angle)[..., None]
    cross = (np.roll(colour, 1, -1) - np.roll(colour, -1, -1)) / math.sqrt(3)
    return colour * cos + cross * sin + colour.mean(-1, keepdims=True) * (1 - cos)


def _mix(a: np.ndarray, b: np.ndarray | float, amount: np.ndarray | float) -> np.ndarray:
    """From a (amount 0) to b (amount 1); an amount of shape (height, width) is spread over the colours."""
    amount = amount[..., None] if isinstance(amount, np.ndarray) and amount.ndim == 2 else amount
    return a + (b - a) * amount


def _noise(rng: np.random.Generator, shape: tuple[int, ...], cells: float, across: float | None = None) -> np.ndarray:
    """Smooth noise of about unit variance, (height, width), with `cells` bumps down and `across` bumps to the side."""
    height, width = shape[:2]
    small = rng.standard_normal((int(cells) + 2, int(across or cells * width / height) + 2)).astype(np.float32)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


# ---------------------------------------------------------------------------------------------------------------------
# Scenes: what is painted.


@dataclass
class Underpainting:
    """A finished scene, as the manners take it up."""

    colour: np.ndarray  # (height, width, 3)
    region: np.ndarray  # (height, width) uint8: which shape lies on top
    palette: dict[str, np.ndarray]  # role to RGB

    @property
    def unit(self) -> float:
        """One pixel of a canvas of 160 px; sizes of strokes are counted in it."""
        return min(self.region.shape) / 160

    def outlines(self, width: float) -> np.ndarray:
        """Coverage from 0 to 1, (height, width), of lines of `width` units where shapes meet."""
        region = self.region
        edge = np.zeros(region.shape, np.float32)
        edge[:, 1:] += region[:, 1:] != region[:, :-1]
        edge[1:] += region[1:] != region[:-1]
        pixels = width * self.unit
        return np.clip(_blur(np.clip(edge, 0, 1), 0.45 * pixels) * 1.9 * max(1.0, pixels / 1.6), 0, 1)

    def flow(self, slant: float) -> np.ndarray:
        """Direction of the brush in radians, (height, width): along the shapes, and by habit where there are none."""
        dy, dx = np.gradient(_blur(_grey(self.colour)[..., 0], 3 * self.unit))
        along = (dx + 1j * dy) ** 2 * -900  # doubled angles: a stroke has no head and no tail
        return np.angle(along + 0.6 * np.exp(2j * slant)) / 2


def _at(x: float, y: float, size: float, points: Sequence[Point], side: int = 1) -> list[Point]:
    """A shape given in its own coordinates, moved to (x, y) and scaled; `side` -1 mirrors it."""
    return [(x + side * dx * size, y + dy * size) for dx, dy in points]


class Scene:
    """A canvas for flat shapes. The short side is 1; x runs to `w`, y down to `h`. Drawn at twice the size."""

    def __init__(self, rng: np.random.Generator, palette: dict[str, np.ndarray], width: int, height: int) -> None:
        self.rng, self.palette = rng, palette
        self.w, self.h = width / min(width, height), height / min(width, height)
        self._scale = 2 * min(width, height)
        self._size = (2 * width, 2 * height)
        self._colour, self._region = Image.new("RGB", self._size), Image.new("L", self._size)
        self._pens = ImageDraw.Draw(self._colour), ImageDraw.Draw(self._region)
        self._shapes = 0

    def uniform(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def some(self, low: int, high: int) -> range:
        """A random number of repetitions, both ends included."""
        return range(int(self.rng.integers(low, high + 1)))

    def pick(self, *roles: str) -> str:
        return str(self.rng.choice(roles))

    def tone(self, role: str, light: float = 0.0) -> tuple[int, int, int]:
        """The palette's colour, a little different each time; `light` from -1 (black) to 1 (white)."""
        rgb = self.palette[role] + self.rng.normal(0, 0.018, 3)
        rgb = rgb + (1 - rgb) * light if light > 0 else rgb * (1 + light)
        red, green, blue = (np.clip(rgb, 0, 1) * 255).astype(int).tolist()
        return red, green, blue

    def _inks(
        self, role: str, light: float, join: bool = False
    ) -> Iterator[tuple[ImageDraw.ImageDraw, tuple[int, int, int] | int]]:
        """The pens of the two pictures, colour and region, each with its ink; with `join` the last shape goes on."""
        self._shapes = self._shapes if join else (self._shapes + 89) % 256
        return zip(self._pens, (self.tone(role, light), self._shapes), strict=True)

    def polygon(self, points: Sequence[Point], role: str, light: float = 0.0) -> None:
        for pen, ink in self._inks(role, light):
            pen.polygon([(x * self._scale, y * self._scale) for x, y in points], fill=ink)

    def box(self, x0: float, y0: float, x1: float, y1: float, role: str, light: float = 0.0) -> None:
        self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], role, light)

    def ellipse(
        self, x: float, y: float, rx: float, ry: float, role: str, light: float = 0.0, join: bool = False
    ) -> None:
        for pen, ink in self._inks(role, light, join):
            pen.ellipse([v * self._scale for v in (x - rx, y - ry, x + rx, y + ry)], fill=ink)

    def ring(self, x: float, y: float, r: float, width: float, role: str, light: float = 0.0) -> None:
        for pen, ink in self._inks(role, light):
            box = [v * self._scale for v in (x - r, y - r, x + r, y + r)]
            pen.ellipse(box, outline=ink, width=max(1, round(width * self._scale)))

    def line(self, points: Sequence[Point], width: float, role: str, light: float = 0.0) -> None:
        for pen, ink in self._inks(role, light):
            scaled = [(x * self._scale, y * self._scale) for x, y in points]
            pen.line(scaled, fill=ink, width=max(1, round(width * self._scale)), joint="curve")

    def fade(self, y0: float, y1: float, above: str, below: str, light: float = 0.0) -> None:
        """A band across the canvas that changes from one colour to another."""
        top, bottom = round(y0 * self._scale), max(round(y0 * self._scale) + 1, round(y1 * self._scale))
        ramp = np.linspace(self.tone(above, light), self.tone(below, light), bottom - top).astype(np.uint8)
        self._colour.paste(Image.fromarray(ramp[:, None]).resize((self._size[0], bottom - top)), (0, top))
        self._shapes = (self._shapes + 89) % 256
        self._pens[1].rectangle((0, top, self._size[0], bottom), fill=self._shapes)

    def finish(self) -> Underpainting:
        """Look at the scene from nearer or farther, mirror half of them, and let light fall in from somewhere."""
        (width, height), zoom = self._size, self.uniform(1, 1.2)
        left, top = (self.uniform(0, side - side / zoom) for side in self._size)
        view = (left, top, left + width / zoom, top + height / zoom)
        size, step = (width // 2, height // 2), -1 if self.rng.random() < 0.5 else 1
        colour = _to_array(self._colour.resize(size, Image.Resampling.BILINEAR, box=view))[:, ::step]
        region = np.asarray(self._region.resize(size, Image.Resampling.NEAREST, box=view))[:, ::step]
        angle, strength = self.uniform(0, 6.28), self.uniform(0.05, 0.3)
        y, x = np.mgrid[-1 : 1 : size[1] * 1j, -1 : 1 : size[0] * 1j].astype(np.float32)
        light = 1 + strength * (x * math.cos(angle) + y * math.sin(angle))
        return Underpainting(np.clip(colour * light[..., None], 0, 1), region.copy(), self.palette)

    # Things that occur in several scenes.

    def ridge(self, y: float, rough: float, role: str, light: float = 0.0) -> None:
        """Hills from side to side, filled down to the lower edge."""
        x = np.linspace(0, self.w, 24)
        a, b = self.rng.uniform(0, 6.28, 2)
        tops = y + rough * (np.sin(x * 3.1 + a) + 0.5 * np.sin(x * 6.7 + b))
        self.polygon([*zip(x.tolist(), tops.tolist(), strict=True), (self.w, self.h), (0, self.h)], role, light)

    def blob(self, x: float, y: float, r: float, role: str, light: float = 0.0, squash: float = 1.0) -> None:
        """A round shape with an uneven rim."""
        angle = np.linspace(0, 6.28, 14)[:-1]
        radius = r * self.rng.uniform(0.8, 1.15, 13)
        xs, ys = x + radius * np.cos(angle), y + radius * np.sin(angle) * squash
        self.polygon(list(zip(xs.tolist(), ys.tolist(), strict=True)), role, light)

    def tree(self, x: float, y: float, size: float) -> None:
        self.line([(x, y), (x, y - size)], size * 0.12, "dark", 0.1)
        for dx, dy, r in ((0, -1.0, 0.45), (-0.25, -0.75, 0.33), (0.25, -0.8, 0.33), (0.1, -1.25, 0.28)):
            self.blob(x + dx * size, y + dy * size, r * size, "leaf", self.uniform(-0.25, 0.15))

    def cloud(self, x: float, y: float, size: float) -> None:
        puffs = [(self.uniform(-1, 1), self.uniform(-0.35, 0.1), self.uniform(0.3, 0.5)) for _ in range(6)]
        for role, light, drop in (("stone", -0.15, 0.12), ("light", 0.35, 0.0)):
            for k, (dx, dy, r) in enumerate(puffs):
                self.ellipse(x + dx * size, y + (dy + drop) * size, r * size, 0.75 * r * size, role, light, join=k > 0)

    def person(self, x: float, y: float, size: float, role: str, light: float = 0.0) -> None:
        """A standing figure with its feet at (x, y)."""
        body = [(-0.2, 0), (0.2, 0), (0.13, -0.45), (0.16, -0.78), (-0.16, -0.78), (-0.13, -0.45)]
        self.polygon(_at(x, y, size, body), role, light)
        self.ellipse(x, y - 0.88 * size, 0.1 * size, 0.12 * size, "skin")

    def bust(self, x: float, y: float, size: float, role: str) -> None:
        """Head and shoulders; the face, 0.6 * size wide and 0.8 * size high, is centred on (x, y)."""
        long_hair, hair = self.rng.random() < 0.5, self.pick("dark", "dark", "second", "accent")
        self.ellipse(x, y - 0.08 * size, 0.38 * size, 0.47 * size, hair, -0.15)
        if long_hair:
            self.box(x - 0.38 * size, y - 0.08 * size, x + 0.38 * size, y + 0.6 * size, hair, -0.15)
        shoulders = [(-0.9, 1.8), (-0.75, 0.85), (-0.2, 0.55), (0.2, 0.55), (0.75, 0.85), (0.9, 1.8)]
        self.polygon(_at(x, y, size, shoulders), role)
        neck = [(-0.15, 0.2), (0.15, 0.2), (0.2, 0.6), (0, 0.85), (-0.2, 0.6)]
        self.polygon(_at(x, y, size, neck), "skin", -0.15)
        for side in (-1, 1):
            collar = [(0.0, 0.86), (0.24, 0.52), (0.36, 0.68), (0.1, 0.98)]
            self.polygon(_at(x, y, size, collar, side), "light")
        self.ellipse(x, y, 0.3 * size, 0.4 * size, "skin")
        for side in (-1, 1):
            brow = [(x + side * 0.06 * size, y - 0.12 * size), (x + side * 0.19 * size, y - 0.13 * size)]
            self.line(brow, 0.022 * size, "dark", 0.1)
            self.ellipse(x + side * 0.12 * size, y - 0.04 * size, 0.05 * size, 0.026 * size, "dark")
        self.line([(x, y - 0.02 * size), (x + 0.05 * size, y + 0.12 * size)], 0.025 * size, "skin", -0.25)
        self.line([(x - 0.08 * size, y + 0.22 * size), (x + 0.08 * size, y + 0.22 * size)], 0.04 * size, "accent", -0.1)

    def fruit(self, x: float, y: float, r: float) -> None:
        self.ellipse(x, y, r, r, self.pick("accent", "second", "leaf"))
        self.ellipse(x - 0.35 * r, y - 0.35 * r, 0.25 * r, 0.25 * r, "light")

    def flower(self, x: float, y: float, r: float, role: str, petals: int = 6) -> None:
        turn = self.uniform(0, 1)
        for k in range(petals):
            angle = turn + 6.283 * k / petals
            place = x + 0.6 * r * math.cos(angle), y + 0.6 * r * math.sin(angle)
            self.ellipse(*place, 0.48 * r, 0.48 * r, role, self.uniform(-0.05, 0.25), join=k > 0)
        self.ellipse(x, y, 0.3 * r, 0.3 * r, "second" if role != "second" else "dark")

    def beast(self, x: float, y: float, size: float, role: str, antlers: bool = False) -> None:
        """A four-footed animal in profile, looking to the right; (x, y) is the middle of its trunk."""
        for dx in (-0.5, -0.36, 0.34, 0.48):
            self.line([(x + dx * size, y), (x + dx * size, y + 0.8 * size)], 0.11 * size, role, -0.25)
        self.ellipse(x, y, 0.62 * size, 0.32 * size, role)
        lift = -0.75 if antlers else -0.4
        neck = [(0.3, -0.2), (0.55, 0.1), (0.85, lift + 0.1), (0.68, lift - 0.08)]
        self.polygon(_at(x, y, size, neck), role)
        self.ellipse(x + 0.86 * size, y + lift * size, 0.2 * size, 0.12 * size, role, 0.08)
        self.line([(x - 0.6 * size, y - 0.1 * size), (x - 0.72 * size, y + 0.4 * size)], 0.05 * size, "dark")
        if not antlers:
            for dx, dy, r in ((-0.3, -0.1, 0.16), (0.02, 0.08, 0.13), (0.3, -0.08, 0.12)):
                self.blob(x + dx * size, y + dy * size, r * size, "light")
            self.ellipse(x + 0.99 * size, y - 0.36 * size, 0.09 * size, 0.09 * size, "skin", -0.1)
            for dx in (0.66, 0.78):
                self.line(_at(x, y, size, [(dx, -0.5), (dx - 0.06, -0.7)]), 0.05 * size, "dark")
            return
        for lean in (-0.45, 0.3):
            root, tip = _at(x + 0.76 * size, y + lift * size, size, [(0, -0.1), (lean, -0.75)])
            self.line([root, tip], 0.06 * size, "light", -0.1)
            for t in (0.4, 0.7):
                fork = root[0] + (tip[0] - root[0]) * t, root[1] + (tip[1] - root[1]) * t
                self.line([fork, (fork[0] + 0.2 * size, fork[1] - 0.2 * size)], 0.05 * size, "light", -0.1)


def _landscape(s: Scene) -> None:
    s.fade(0, s.h, "sky", "haze")
    s.ellipse(s.uniform(0.1, 0.9) * s.w, s.uniform(0.1, 0.25) * s.h, 0.08, 0.08, "second", 0.3)
    horizon = s.uniform(0.38, 0.5) * s.h
    s.ridge(horizon, 0.05, "stone", 0.1)
    s.ridge(horizon + 0.12, 0.05, "leaf", 0.1)
    s.ridge(horizon + 0.28, 0.03, "ground")
    y0, bend, turn = horizon + 0.3, s.uniform(0.1, 0.25), s.uniform(0, 6.28)
    t = np.linspace(0, 1, 16)
    middle, half = s.w * s.uniform(0.4, 0.6) + bend * np.sin(turn + 5 * t), 0.012 + 0.13 * t**1.5
    y = y0 + (s.h - y0) * t
    left, right = (np.stack([middle + side * half, y], 1).tolist() for side in (-1, 1))
    s.polygon([(a, b) for a, b in left + right[::-1]], "light", -0.05)
    for x in np.sort(s.rng.uniform(0.05, 0.95, s.some(3, 6).stop)) * s.w:
        s.tree(float(x), s.uniform(horizon + 0.3, 0.98 * s.h), s.uniform(0.18, 0.32))


def _cloudscape(s: Scene) -> None:
    s.fade(0, s.h, "sky", "haze")
    for level in np.linspace(0.16, 0.66, s.some(4, 6).stop):
        s.cloud(s.uniform(0.05, 0.95) * s.w, float(level) * s.h, s.uniform(0.22, 0.36))
    s.ridge(0.9 * s.h, 0.008, "ground", -0.1)


def _marina(s: Scene) -> None:
    horizon = s.uniform(0.36, 0.62) * s.h
    s.fade(0, horizon, *s.rng.permutation(["sky", "haze"]).tolist())
    for _ in s.some(0, 2):
        s.cloud(s.uniform(0, 1) * s.w, s.uniform(0.05, 0.25) * s.h, s.uniform(0.12, 0.25))
    s.ellipse(s.uniform(0.15, 0.85) * s.w, horizon - 0.1, 0.07, 0.07, "second", 0.3)
    s.fade(horizon, s.h, "water", "water", -0.05)
    for y in np.linspace(horizon + 0.05, s.h, 9):
        for _ in range(3):
            x, reach = s.uniform(0, s.w), s.uniform(0.08, 0.25)
            s.line([(x, y), (x + reach / 2, y - 0.012), (x + reach, y)], 0.015, "water", s.uniform(0.15, 0.45))
    for _ in s.some(1, 3):
        x, y, size = s.uniform(0.2, 0.8) * s.w, horizon + s.uniform(0.06, 0.3), s.uniform(0.3, 0.5)
        s.polygon(_at(x, y, size, [(-0.02, 0), (-0.02, -0.95), (0.45, 0)]), "light", 0.2)
        s.polygon(_at(x, y, size, [(-0.07, 0), (-0.07, -0.8), (-0.35, 0)]), s.pick("accent", "haze"))
        hull = [(-0.45, 0.03), (0.5, 0.03), (0.35, 0.2), (-0.32, 0.2)]
        s.polygon(_at(x, y, size, hull), "dark")


def _cityscape(s: Scene) -> None:
    s.fade(0, s.h, "sky", "haze")
    street, x = 0.82 * s.h, -0.05
    while x < s.w:
        width, top = s.uniform(0.16, 0.3), s.uniform(0.12, 0.5) * s.h
        role = s.pick("stone", "accent", "skin", "ground", "haze")
        s.box(x, top, x + width, street, role, s.uniform(-0.2, 0.05))
        if s.rng.random() < 0.6:
            s.polygon([(x - 0.01, top), (x + width / 2, top - 0.12), (x + width + 0.01, top)], "dark", 0.15)
        for wy in np.arange(top + 0.06, street - 0.08, 0.12):
            for wx in np.arange(x + 0.03, x + width - 0.04, 0.075):
                s.box(wx, wy, wx + 0.04, wy + 0.065, s.pick("dark", "dark", "second"))
        x += width
    s.box(0, street, s.w, s.h, "ground", -0.1)
    for _ in s.some(2, 5):
        s.person(s.uniform(0.05, 0.95) * s.w, s.uniform(street + 0.04, s.h), 0.14, "dark")


def _portrait(s: Scene) -> None:
    s.fade(0, s.h, "stone", s.pick("ground", "dark", "water"), -0.1)
    role = s.pick("accent", "water", "dark", "leaf")
    s.bust(s.w / 2 + s.uniform(-0.08, 0.08), 0.4 * s.h + s.uniform(-0.05, 0.05), s.uniform(0.58, 0.72), role)


def _self_portrait(s: Scene) -> None:
    s.fade(0, s.h, "haze", "stone")
    x, y, size = 0.36 * s.w, 0.4 * s.h, s.uniform(0.46, 0.54)
    s.polygon([(0.68 * s.w, 0.05 * s.h), (s.w, 0.0), (s.w, 0.8 * s.h), (0.68 * s.w, 0.74 * s.h)], "light", 0.3)
    s.line([(0.68 * s.w, 0.03 * s.h), (0.68 * s.w, s.h)], 0.05, "dark")
    s.bust(x, y, size, s.pick("water", "leaf", "dark"))
    s.ellipse(x + 0.06 * size, y - 0.42 * size, 0.52 * size, 0.2 * size, "accent")
    px, py = x + 0.3, y + 1.25 * size
    s.ellipse(px, py, 0.3, 0.17, "skin", -0.25)
    for k, role in enumerate(("accent", "second", "water", "leaf", "light")):
        s.ellipse(px + 0.2 * math.cos(2.4 + k * 0.9), py + 0.1 * math.sin(2.4 + k * 0.9), 0.045, 0.04, role)
    s.line([(px, py), (px + 0.25, py - 0.4)], 0.025, "dark")


def _genre_painting(s: Scene) -> None:
    s.box(0, 0, s.w, s.h, "stone", -0.3)
    s.box(0, 0.72 * s.h, s.w, s.h, "ground", -0.2)
    lamp = s.uniform(0.4, 0.6) * s.w
    s.polygon([(lamp, 0.1), (lamp - 0.6, 0.8 * s.h), (lamp + 0.6, 0.8 * s.h)], "haze", -0.15)
    s.ellipse(lamp, 0.1, 0.07, 0.05, "second", 0.3)
    roles = ["accent", "water", "leaf", "light", "second", "dark"]
    n = s.some(4, 6).stop
    for k, x in enumerate(np.linspace(0.12, 0.88, n) * s.w):
        s.person(float(x) + s.uniform(-0.03, 0.03), s.uniform(0.84, 0.97) * s.h, s.uniform(0.55, 0.68), roles[k])
    s.polygon(_at(lamp, 0.7 * s.h, 1, [(-0.34, 0), (0.34, 0), (0.42, 0.1), (-0.42, 0.1)]), "light")
    s.box(lamp - 0.38, 0.7 * s.h + 0.1, lamp + 0.38, 0.7 * s.h + 0.16, "stone", -0.2)
    for dx in (-0.2, 0.0, 0.18):
        s.ellipse(lamp + dx, 0.73 * s.h, 0.05, 0.04, s.pick("accent", "second"))


def _religious_painting(s: Scene) -> None:
    s.box(0, 0, s.w, s.h, "dark", 0.1)
    cx, r = s.w / 2, 0.42
    s.ellipse(cx, 0.06 + r, r, r, "second")
    s.box(cx - r, 0.06 + r, cx + r, s.h, "second")
    size = s.uniform(0.72, 0.8) * s.h
    head = 0.97 * s.h - 0.88 * size
    s.ellipse(cx, head, 0.2, 0.2, "light", 0.3)
    s.ring(cx, head, 0.2, 0.02, "accent")
    robe = s.pick("accent", "water")
    s.polygon([(cx - 0.32, s.h), (cx - 0.16, head + 0.12), (cx + 0.16, head + 0.12), (cx + 0.32, s.h)], robe)
    s.polygon([(cx - 0.1, s.h), (cx, head + 0.2), (cx + 0.1, s.h)], "light", -0.05)
    s.ellipse(cx, head, 0.085, 0.11, "skin")
    for side in (-1, 1):
        s.line(_at(cx, head, 1, [(0.17, 0.2), (0.24, 0.42), (0, 0.38)], side), 0.06, robe, -0.2)
        s.person(cx + side * 0.32, 0.99 * s.h, 0.4, "haze")
        s.ring(cx + side * 0.32, 0.99 * s.h - 0.35, 0.07, 0.014, "light", 0.3)


def _still_life(s: Scene) -> None:
    s.box(0, 0, s.w, s.h, s.pick("stone", "water", "haze"), -0.25)
    edge = s.uniform(0.52, 0.6) * s.h
    s.box(0, edge, s.w, s.h, "ground")
    x = s.uniform(0.15, 0.35) * s.w
    s.polygon([(x, edge + 0.03), (x + 0.65, edge + 0.08), (x + 0.5, s.h), (x + 0.05, s.h)], "light")
    bottle = s.uniform(0.12, 0.24) * s.w
    s.box(bottle - 0.08, edge - 0.3, bottle + 0.08, edge + 0.18, "leaf", -0.2)
    s.box(bottle - 0.03, edge - 0.5, bottle + 0.03, edge - 0.28, "leaf", -0.2)
    s.box(bottle - 0.05, edge - 0.2, bottle - 0.02, edge + 0.1, "light")
    bowl = s.uniform(0.55, 0.68) * s.w
    for dx, dy in ((-0.15, -0.02), (0.15, -0.02), (0, -0.06), (-0.07, -0.18), (0.09, -0.17)):
        s.fruit(bowl + dx, edge + dy, 0.1)
    s.polygon(_at(bowl, edge, 1, [(-0.32, 0), (0.32, 0), (0.16, 0.2), (-0.16, 0.2)]), "water")
    for _ in s.some(2, 4):
        s.fruit(s.uniform(0.2, 0.9) * s.w, s.uniform(edge + 0.2, s.h - 0.08), s.uniform(0.08, 0.1))


def _flower_painting(s: Scene) -> None:
    s.box(0, 0, s.w, s.h, s.pick("haze", "stone", "dark"), -0.05)
    s.box(0, 0.85 * s.h, s.w, s.h, "ground")
    cx, cy = s.w / 2 + s.uniform(-0.06, 0.06), 0.4 * s.h
    s.polygon([(cx - 0.13, 0.64 * s.h), (cx + 0.13, 0.64 * s.h), (cx + 0.2, 0.8 * s.h), (cx + 0.1, 0.95 * s.h),
               (cx - 0.1, 0.95 * s.h), (cx - 0.2, 0.8 * s.h)], "water")  # fmt: skip
    for _ in range(12):
        s.blob(cx + s.uniform(-0.38, 0.38), cy + s.uniform(-0.3, 0.32), 0.12, "leaf", s.uniform(-0.2, 0.1))
    for k in range(s.some(11, 15).stop):
        r, angle = 0.38 * math.sqrt((k + 0.5) / 13), 2.4 * k
        place = cx + r * math.cos(angle), cy + 0.95 * r * math.sin(angle)
        s.flower(*place, s.uniform(0.1, 0.14), s.pick("accent", "second", "light", "accent", "sky"))


def _sketch_and_study(s: Scene) -> None:
    s.box(0, 0, s.w, s.h, "light", -0.03)
    first = int(s.rng.integers(3))
    for k in range(4):
        x = (0.28 + 0.46 * (k % 2)) * s.w + s.uniform(-0.03, 0.03)
        y = (0.27 + 0.47 * (k // 2)) * s.h + s.uniform(-0.03, 0.03)
        r = s.uniform(0.15, 0.18)

        def draw(*points: Point, x: float = x, y: float = y, r: float = r) -> None:
            s.line(_at(x, y, r, points), 0.016, "dark")

        kind = (first + k) % 3
        if kind == 0:  # a gesture
            s.ring(x, y - 0.8 * r, 0.24 * r, 0.016, "dark")
            draw((-0.3, -0.45), (0.3, -0.45), (0.12, 0.25), (-0.12, 0.25), (-0.3, -0.45))
            draw((0.3, -0.45), (0.75, -0.2), (0.6, -0.75))
            draw((-0.3, -0.45), (-0.65, -0.05), (-0.35, 0.2))
            draw((0.12, 0.25), (0.45, 0.65), (0.3, 1.15))
            draw((-0.12, 0.25), (-0.25, 0.7), (-0.5, 1.15))
        elif kind == 1:  # the construction of a head
            s.ring(x, y - 0.2 * r, 0.62 * r, 0.016, "dark")
            draw((-0.6, -0.1), (-0.4, 0.6), (0, 0.95), (0.4, 0.6), (0.6, -0.1))
            draw((0, -0.95), (0, 1.05))
            draw((-0.75, -0.05), (0.75, -0.05))
            draw((-0.2, 0.5), (0.2, 0.5))
        else:  # a cube, hatched
            draw((-0.7, -0.3), (0.2, -0.3), (0.2, 0.7), (-0.7, 0.7), (-0.7, -0.3))
            draw((-0.7, -0.3), (-0.2, -0.8), (0.7, -0.8), (0.2, -0.3))
            draw((0.7, -0.8), (0.7, 0.2), (0.2, 0.7))
        for t in (0.0, 0.17, 0.34, 0.51):  # hatching
            draw((0.3 + t, 0.75), (0.75 + t, 0.2))


def _animal_painting(s: Scene) -> None:
    s.fade(0, s.h, "sky", "haze")
    s.ridge(0.5 * s.h, 0.02, "leaf", 0.2)
    s.ridge(0.66 * s.h, 0.015, "ground", 0.1)
    size = s.uniform(0.5, 0.58)
    s.beast(s.uniform(0.4, 0.5) * s.w, 0.52 * s.h, size, s.pick("accent", "dark", "stone"))


def _wildlife_painting(s: Scene) -> None:
    s.fade(0, s.h, "leaf", "haze", -0.15)
    for x in np.arange(0.04, s.w, 0.17):
        x = float(x) + s.uniform(-0.04, 0.04)
        s.box(x - 0.03, 0, x + s.uniform(0.01, 0.04), 0.86 * s.h, "dark", s.uniform(0.0, 0.2))
    s.beast(s.uniform(0.38, 0.5) * s.w, 0.62 * s.h, s.uniform(0.38, 0.44), s.pick("skin", "second"), antlers=True)
    for _ in range(14):
        s.blob(s.uniform(0, s.w), s.uniform(0.9, 1.0) * s.h, 0.08, "leaf", s.uniform(-0.4, 0.0))


def _interior(s: Scene) -> None:
    x0, x1, y0, y1 = s.uniform(0.2, 0.3) * s.w, s.uniform(0.72, 0.82) * s.w, 0.16 * s.h, s.uniform(0.6, 0.66) * s.h
    s.box(0, 0, s.w, s.h, "stone", 0.3)
    s.polygon([(0, 0), (x0, y0), (x0, y1), (0, s.h)], "second", -0.25)
    s.polygon([(s.w, 0), (x1, y0), (x1, y1), (s.w, s.h)], "second", -0.4)
    s.box(x0, y0, x1, y1, "second", -0.1)
    s.polygon([(x0, y1), (x1, y1), (s.w, s.h), (0, s.h)], "accent", -0.4)
    for t in (0.2, 0.4, 0.6, 0.8):
        s.line([(x0 + (x1 - x0) * t, y1), (s.w * t, s.h)], 0.012, "dark")
    wx = x0 + 0.1
    s.box(wx, y0 + 0.08, wx + 0.26, y1 - 0.12, "light", 0.5)
    s.line([(wx + 0.13, y0 + 0.08), (wx + 0.13, y1 - 0.12)], 0.025, "dark")
    s.line([(wx, (y0 + y1) / 2 - 0.02), (wx + 0.26, (y0 + y1) / 2 - 0.02)], 0.025, "dark")
    bed = y1 + s.uniform(0.0, 0.06)
    s.polygon([(x1 - 0.3, bed), (s.w - 0.02, bed), (s.w, s.h - 0.08), (x1 - 0.42, s.h - 0.08)], "water", 0.1)
    s.ellipse(x1 - 0.12, bed + 0.05, 0.12, 0.05, "light", 0.3)


def _sculpture(s: Scene) -> None:
    s.fade(0, s.h, "dark", "ground", 0.05)
    cx, size = s.w / 2, s.uniform(0.5, 0.56)
    s.box(cx - 0.2, 0.78 * s.h, cx + 0.2, s.h, "stone", -0.1)
    s.box(cx - 0.27, 0.75 * s.h, cx + 0.27, 0.81 * s.h, "stone", 0.2)
    y = 0.3 * s.h
    chest = [(-0.55, 0.7), (-0.22, 0.5), (0.22, 0.5), (0.55, 0.7), (0.4, 1.15), (0.12, 1.3), (-0.12, 1.3), (-0.4, 1.15)]
    s.polygon([(cx + dx * size, y + dy * size * s.h / 1.25) for dx, dy in chest], "light", 0.3)
    s.box(cx - 0.13 * size, y + 0.2 * size, cx + 0.13 * size, y + 0.65 * size, "light", -0.1)
    for k in range(7):
        angle = math.pi * (1 + k / 6)
        place = cx + 0.28 * size * math.cos(angle), y + 0.32 * size * math.sin(angle)
        s.ellipse(*place, 0.13 * size, 0.13 * size, "light", -0.15)
    s.ellipse(cx, y, 0.29 * size, 0.4 * size, "light", 0.35)
    for side in (-1, 1):
        s.ellipse(cx + side * 0.11 * size, y - 0.04 * size, 0.06 * size, 0.03 * size, "stone")
    s.line([(cx, y - 0.02), (cx + 0.03, y + 0.06)], 0.015, "stone")


def _mythological_painting(s: Scene) -> None:
    s.fade(0, s.h, "sky", "haze")
    s.ellipse(0.76 * s.w, 0.2 * s.h, 0.17, 0.17, "second", 0.25)
    s.fade(0.84 * s.h, s.h, "water", "dark")
    base = s.uniform(0.72, 0.78) * s.h
    s.polygon([(0, base), (0.44, base), (0.54, s.h), (0, s.h)], "ground", -0.2)
    for x in (0.04, 0.14, 0.24, 0.34):
        s.box(x, base - 0.24, x + 0.05, base, "light")
    s.polygon([(0.0, base - 0.24), (0.43, base - 0.24), (0.215, base - 0.37)], "light", -0.1)
    x, y, size = 0.56 * s.w + s.uniform(-0.05, 0.05), s.uniform(0.36, 0.46) * s.h, s.uniform(0.9, 1.1)
    for side in (-1, 1):
        wing = [(0, 0), (0.2, -0.28), (0.42, -0.26), (0.36, -0.14), (0.3, -0.04), (0.2, 0.04)]
        s.polygon(_at(x, y, size, wing, side), "light", 0.2 if side > 0 else -0.12)
    s.polygon(_at(x, y, 1, [(-0.08, -0.06), (0.08, -0.06), (0.05, 0.2), (-0.2, 0.42), (-0.05, 0.16)]), "accent")
    s.ellipse(x + 0.01, y - 0.12, 0.055, 0.065, "skin")


def _battle_painting(s: Scene) -> None:
    s.fade(0, s.h, "stone", "haze", -0.2)
    for _ in range(5):
        s.blob(s.uniform(0, s.w), s.uniform(0.2, 0.5) * s.h, s.uniform(0.14, 0.22), s.pick("dark", "second"), 0.25, 0.7)
    s.ridge(0.66 * s.h, 0.02, "ground", -0.3)
    for _ in range(22):
        x, y, lean = s.uniform(0, s.w), s.uniform(0.55, 0.9) * s.h, s.uniform(-0.1, 0.35)
        s.line([(x, y), (x + lean, y - 0.5)], 0.014, "dark")
    for _ in range(3):
        x, y = s.uniform(0.1, 0.85) * s.w, s.uniform(0.12, 0.25) * s.h
        s.line([(x, y), (x - 0.06, 0.8 * s.h)], 0.02, "dark")
        flag = [(0, 0), (0.26, 0.06), (0.2, 0.11), (0.24, 0.19), (-0.01, 0.16)]
        s.polygon(_at(x, y, 1, flag), s.pick("accent", "light"))
    for y in (0.72, 0.84, 0.97):
        for _ in range(9):
            s.person(s.uniform(0, s.w), y * s.h, s.uniform(0.2, 0.27), s.pick("dark", "accent", "stone", "water"), -0.2)


def _symbolic_painting(s: Scene) -> None:
    s.fade(0, s.h, "dark", "water", 0.05)
    cx, cy, r = s.w / 2 + s.uniform(-0.05, 0.05), s.uniform(0.34, 0.4) * s.h, s.uniform(0.34, 0.4)
    for k in range(14):
        angle = 6.283 * k / 14
        ray = [(q * math.cos(angle + da), q * math.sin(angle + da)) for q, da in ((0.25, -0.1), (0.62, 0), (0.25, 0.1))]
        s.polygon(_at(cx, cy, 1, ray), "second")
    t = np.linspace(-1, 1, 15).tolist()
    lids = [(r * a, -0.24 * (1 - a * a)) for a in t] + [(-r * a, 0.2 * (1 - a * a)) for a in t]
    s.polygon(_at(cx, cy, 1, lids), "light", 0.3)
    s.ellipse(cx, cy - 0.01, 0.16, 0.16, s.pick("accent", "leaf"))
    s.ellipse(cx, cy - 0.01, 0.075, 0.075, "dark", -0.4)
    for k in range(4):
        half, y = 0.22 + 0.08 * k, (0.76 + 0.06 * k) * s.h
        s.box(cx - half, y, cx + half, y + 0.07 * s.h, "stone", 0.25 - 0.17 * k)


def _illustration(s: Scene) -> None:
    s.box(0, 0, s.w, s.h, "light", 0.3)
    x0, x1, y0, y1 = 0.1, s.w - 0.1, 0.08 * s.h, s.uniform(0.56, 0.62) * s.h
    s.box(x0 - 0.025, y0 - 0.025, x1 + 0.025, y1 + 0.025, "dark")
    s.box(x0, y0, x1, y1, "sky")
    s.ellipse(x0 + 0.16, y0 + 0.15, 0.09, 0.09, "second", 0.2)
    cx = s.uniform(0.5, 0.62) * s.w
    s.polygon([(x0, y1), (x0, y1 - 0.1), (cx, y1 - 0.24), (x1, y1 - 0.1), (x1, y1)], "leaf")
    for dx, height in ((-0.17, 0.3), (0.13, 0.36), (-0.02, 0.46)):
        s.box(cx + dx, y1 - height, cx + dx + 0.1, y1 - 0.12, "stone", -0.2)
        s.polygon(_at(cx + dx, y1 - height, 1, [(-0.02, 0), (0.05, -0.15), (0.12, 0)]), "accent")
    s.box(x0, y1 + 0.08, x0 + 0.15, y1 + 0.23, "accent")
    for k, y in enumerate(np.arange(y1 + 0.09, s.h - 0.05, 0.065)):
        start = x0 + (0.2 if k < 3 else 0)
        s.line([(start, y), (x1 - s.uniform(0, 0.1), y)], 0.022, "dark", 0.1)


def _design(s: Scene) -> None:
    s.box(0, 0, s.w, s.h, "haze")
    cx, cy, petals = s.w / 2, s.h / 2, int(s.rng.choice([6, 8, 10, 12]))
    s.ellipse(cx, cy, 0.48, 0.48, "dark")
    for radius, reach, role in ((0.34, 0.12, "accent"), (0.22, 0.1, "second"), (0.11, 0.07, "light")):
        s.ellipse(cx, cy, radius + reach * 0.6, radius + reach * 0.6, s.pick("water", "leaf", "stone"))
        for k in range(petals):
            angle = 6.283 * (k + (0.5 if radius < 0.3 else 0)) / petals
            place, r = (cx + radius * math.cos(angle), cy + radius * math.sin(angle)), 1.9 * radius / petals
            s.ellipse(*place, r, r, role)
    s.ellipse(cx, cy, 0.06, 0.06, "accent")
    for x in (0.0, s.w):
        for y in (0.0, s.h):
            s.ellipse(x, y, 0.2, 0.2, "accent")
            s.ellipse(x, y, 0.12, 0.12, "light")


def _tessellation(s: Scene) -> None:
    roles = s.rng.permutation(["accent", "water", "second", "leaf", "dark", "light"])[:3].tolist()
    side, kind = s.uniform(0.17, 0.23), s.rng.integers(3)
    for row in range(-1, int(s.h / side) + 2):
        for column in range(-1, int(s.w / side) + 2):
            x, y = (column + (0.5 if row % 2 else 0)) * side, row * side
            if kind == 0:  # triangles
                s.polygon(_at(x, y, side, [(0, 0), (1, 0), (0.5, 1)]), roles[0])
                s.polygon(_at(x, y, side, [(1, 0), (1.5, 1), (0.5, 1)]), roles[1 + column % 2])
            elif kind == 1:  # tumbling blocks
                s.polygon(_at(x, y, side, [(-0.5, 0.25), (0, 0), (0.5, 0.25), (0, 0.5)]), roles[0])
                s.polygon(_at(x, y, side, [(-0.5, 0.25), (0, 0.5), (0, 1), (-0.5, 0.75)]), roles[1])
                s.polygon(_at(x, y, side, [(0, 0.5), (0.5, 0.25), (0.5, 1), (0, 1)]), roles[2])
            else:  # lozenges
                s.box(x, y, x + side, y + side, roles[column % 2])
                s.polygon(_at(x, y, side, [(0.5, 0), (1, 0.5), (0.5, 1), (0, 0.5)]), roles[2])


def _bird_and_flower(s: Scene) -> None:
    s.fade(0, s.h, "haze", "light")
    drop, slope = s.uniform(0.45, 0.7) * s.h, s.uniform(-0.1, 0.3)
    knots = [(0.0, drop + slope), (0.3 * s.w, drop + 0.1), (0.62 * s.w, drop + 0.06), (s.w, drop - slope)]
    s.line(knots, 0.05, "dark", 0.1)
    x, y = s.uniform(0.08, 0.28) * s.w, drop - s.uniform(0.1, 0.3)
    twigs = [(x, y), (x + s.uniform(-0.05, 0.15), y - 0.2), (s.uniform(0.6, 0.95) * s.w, s.uniform(0.8, 0.95) * s.h)]
    s.line([knots[1], *twigs[:2]], 0.028, "dark", 0.1)
    s.line([knots[2], twigs[2]], 0.028, "dark", 0.1)
    for x, y in (knots[0], knots[3], *twigs, (s.uniform(0.1, 0.9) * s.w, s.uniform(0.1, 0.9) * s.h)):
        for _ in s.some(1, 2):
            s.flower(x + s.uniform(-0.08, 0.08), y + s.uniform(-0.08, 0.08), s.uniform(0.08, 0.11), "accent", 5)
    x, y, role = s.uniform(0.4, 0.7) * s.w, drop - 0.06, s.pick("water", "leaf", "accent", "second")
    s.polygon([(x - 0.1, y), (x - 0.42, y + 0.16), (x - 0.38, y + 0.22), (x - 0.05, y + 0.1)], "dark", 0.15)
    s.polygon([(x + 0.2, y - 0.16), (x + 0.36, y - 0.13), (x + 0.2, y - 0.1)], "second", -0.1)
    s.ellipse(x, y, 0.2, 0.13, role)
    s.ellipse(x + 0.03, y + 0.05, 0.15, 0.07, "light", 0.2)
    s.ellipse(x + 0.15, y - 0.13, 0.1, 0.1, role, -0.15)
    s.ellipse(x + 0.18, y - 0.15, 0.022, 0.022, "light", 0.4)
    s.line([(x - 0.14, y - 0.04), (x + 0.06, y + 0.02)], 0.045, "dark", 0.2)


def _abstract(s: Scene) -> None:
    s.box(0, 0, s.w, s.h, s.pick("haze", "stone", "second"))
    roles = ("accent", "second", "water", "dark", "light", "leaf", "sky")
    for _ in s.some(3, 5):
        x, y, tilt = s.uniform(-0.1, 0.7) * s.w, s.uniform(-0.1, 0.7) * s.h, s.uniform(-0.25, 0.25)
        a, b = s.uniform(0.25, 0.6), s.uniform(0.15, 0.4)
        s.polygon(_at(x, y, 1, [(0, 0), (a, tilt), (a - tilt, tilt + b), (-tilt, b)]), s.pick(*roles))
    for r in s.rng.uniform(0.08, 0.2, s.some(2, 4).stop):
        s.ellipse(s.uniform(0.1, 0.9) * s.w, s.uniform(0.1, 0.9) * s.h, r, r, s.pick(*roles))
    for _ in s.some(3, 5):
        ends = [(s.uniform(0, s.w), s.uniform(0, s.h)) for _ in range(2)]
        s.line(ends, s.uniform(0.015, 0.05), s.pick("dark", "accent"))
    x, y = s.uniform(0.2, 0.7) * s.w, s.uniform(0.2, 0.7) * s.h
    s.polygon([(x, y), (x + s.uniform(0.2, 0.4), y + 0.1), (x + 0.05, y + s.uniform(0.2, 0.4))], s.pick(*roles))


# Which scene stands for which genre, and the width of its canvas when the height is 1.
_SCENES: dict[str, tuple[Callable[[Scene], None], float]] = {
    "landscape": (_landscape, 1.3),
    "portrait": (_portrait, 0.78),
    "genre painting": (_genre_painting, 1.25),
    "cityscape": (_cityscape, 1.2),
    "religious painting": (_religious_painting, 0.72),
    "abstract": (_abstract, 1.05),
    "still life": (_still_life, 1.2),
    "marina": (_marina, 1.35),
    "flower painting": (_flower_painting, 0.82),
    "animal painting": (_animal_painting, 1.25),
    "interior": (_interior, 1.1),
    "illustration": (_illustration, 0.74),
    "sketch and study": (_sketch_and_study, 0.9),
    "symbolic painting": (_symbolic_painting, 0.85),
    "self-portrait": (_self_portrait, 0.88),
    "mythological painting": (_mythological_painting, 0.95),
    "bird-and-flower painting": (_bird_and_flower, 0.9),
    "cloudscape": (_cloudscape, 1.35),
    "design": (_design, 1.0),
    "sculpture": (_sculpture, 0.72),
    "battle painting": (_battle_painting, 1.4),
    "wildlife painting": (_wildlife_painting, 1.1),
    "tessellation": (_tessellation, 1.0),
}

# ---------------------------------------------------------------------------------------------------------------------
# Manners: how it is painted. Each takes the underpainting and returns a picture of the same shape.


def _rgb(colour: np.ndarray) -> tuple[int, ...]:
    return tuple((np.clip(colour, 0, 1) * 255).astype(int).tolist())


def _jittered_grid(rng: np.random.Generator, shape: tuple[int, ...], step: float) -> tuple[np.ndarray, np.ndarray]:
    """Whole x and y, in random order, of places about `step` pixels apart that cover the canvas evenly."""
    y, x = np.mgrid[0 : shape[0] : step, 0 : shape[1] : step].reshape(2, -1)
    order = rng.permutation(x.size)
    x, y = (v[order] + rng.uniform(0, step, x.size) for v in (x, y))
    return np.minimum(x.astype(int), shape[1] - 1), np.minimum(y.astype(int), shape[0] - 1)


def _strokes(
    base: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    colour: np.ndarray,
    angle: np.ndarray,
    length: np.ndarray,
    width: float,
) -> np.ndarray:
    """`base` with n straight strokes over it: centres (n,), colours (n, 3), directions (n,), lengths (n,) in pixels."""
    picture = _to_image(base).resize((2 * base.shape[1], 2 * base.shape[0]))
    pen, thick = ImageDraw.Draw(picture), max(2, round(2 * width))
    dx, dy = np.cos(angle) * length, np.sin(angle) * length
    ends = np.stack([2 * x - dx, 2 * y - dy, 2 * x + dx, 2 * y + dy], 1).tolist()
    for end, ink in zip(ends, (np.clip(colour, 0, 1) * 255).astype(int).tolist(), strict=True):
        pen.line(end, tuple(ink), thick)
    return _to_array(picture.reduce(2))


def _realism(rng: np.random.Generator, art: Underpainting, hand: Painter) -> np.ndarray:
    """Smooth modelling: shapes turn away from a light at the upper left, in warm, subdued colour."""
    colour = _saturate(_blur(art.colour, 0.5 * art.unit), 0.75)
    relief = _blur(1 - art.outlines(2.5), 2.2 * art.unit)
    dy, dx = np.gradient(relief) / np.float32(art.unit**-1)
    height, width = art.region.shape
    y, x = np.mgrid[:height, :width]
    light = 1.15 - 0.5 * np.hypot(x / width - 0.3, y / height - 0.25)
    shade = light * (0.72 + 0.28 * relief) + np.clip((dx + dy) * 1.6, -0.22, 0.22)
    grain = 0.012 * _noise(rng, relief.shape, 60)
    return colour * shade[..., None] + grain[..., None]


def _impressionism(rng: np.random.Generator, art: Underpainting, hand: Painter) -> np.ndarray:
    """Short dabs of broken, light colour; violet in the shadows."""
    width = (2.4 + 0.6 * hand.stroke) * art.unit
    base = _mix(_saturate(_blur(art.colour, 0.8 * art.unit), 1.35), 1.0, 0.14)
    base = base + np.clip(0.45 - _grey(base), 0, 1) * np.array([0.30, 0.12, 0.60], np.float32)
    x, y = _jittered_grid(rng, art.region.shape, 1.35 * width)
    angle = art.flow(hand.slant)[y, x] + rng.normal(0, 0.3, x.size)
    colour = base[y, x] + rng.normal(0, 0.04, (x.size, 3)) + rng.normal(0, 0.07, (x.size, 1))
    return _strokes(base, x, y, colour, angle, rng.uniform(2.0, 3.2, x.size) * width, width)


def _fauvism(rng: np.random.Generator, art: Underpainting, hand: Painter) -> np.ndarray:
    """Broad patches of violent colour, bare canvas showing between them, contours in dark blue."""
    width = (6.5 + 1.5 * hand.stroke) * art.unit
    x, y = _jittered_grid(rng, art.region.shape, 0.78 * width)
    colour = _saturate(_blur(art.colour, art.unit)[y, x], 2.3)
    colour = _turn_hue(colour, rng.normal(0, 0.35, x.size) + 1.2 * (_grey(colour)[:, 0] < 0.38)) * 1.08 + 0.04
    colour = _saturate(np.clip(colour, 0.03, 1), 1.3) + rng.normal(0, 0.04, (x.size, 1))
    angle = art.flow(hand.slant)[y, x] + rng.choice([0, 1.57], x.size, p=[0.75, 0.25])
    canvas = np.broadcast_to(_mix(art.palette["light"], 1.0, 0.4), art.colour.shape)
    bare = rng.random(x.size) > 0.93
    colour[bare] = canvas[0, 0]
    picture = _strokes(canvas, x, y, colour, angle, rng.uniform(0.9, 1.5, x.size) * width, width)
    flat = _saturate(np.clip(_saturate(art.colour, 2.3) * 1.08, 0.03, 1), 1.3)
    picture = _mix(picture, flat, 0.25)
    return _mix(picture, np.array([0.08, 0.08, 0.36], np.float32), 0.85 * art.outlines(2.4))


def _pointillism(rng: np.random.Generator, art: Underpainting, hand: Painter) -> np.ndarray:
    """Dots of pure colour on a pale ground, every few of them of the opposite hue."""
    base = _saturate(_blur(art.colour, 0.8 * art.unit), 1.5)
    height, width = art.region.shape
    picture = Image.new("RGB", (2 * width, 2 * height), _rgb(_mix(art.palette["light"], 1.0, 0.5)))
    pen, step = ImageDraw.Draw(picture), (3.6 + 0.5 * hand.stroke) * art.unit
    x, y = _jittered_grid(rng, art.region.shape, 0.82 * step)
    colour = _turn_hue(base[y, x], rng.normal(0, 0.25, x.size) + 2.2 * (rng.random(x.size) < 0.12))
    radius = rng.uniform(0.8, 1.1, x.size) * step
    boxes = np.stack([2 * x - radius, 2 * y - radius, 2 * x + radius, 2 * y + radius], 1).tolist()
    inks = (np.clip(colour + rng.normal(0, 0.06, (x.size, 1)), 0, 1) * 255).astype(int).tolist()
    for box, ink in zip(boxes, inks, strict=True):
        pen.ellipse(box, tuple(ink))
    return _to_array(picture.reduce(2))


def _cubism(rng: np.random.Generator, art: Underpainting, hand: Painter) -> np.ndarray:
    """Long cuts make facets; each shows its piece of the scene from elsewhere and is shaded from edge to edge."""
    unit, (height, width), cuts = art.unit, art.region.shape, 9
    y, x = np.mgrid[:height, :width].astype(np.float32)
    facet, nearest = np.zeros((height, width), int), np.full((height, width), 1e9, np.float32)
    for k, (cx, cy) in enumerate(rng.uniform(0.1, 0.9, (cuts, 2)) * (width, height)):
        angle = hand.slant + k * 0.7 + rng.normal(0, 0.25)
        distance = (x - cx) * math.sin(angle) - (y - cy) * math.cos(angle)
        facet += (distance > 0) << k
        nearest = np.minimum(nearest, np.abs(distance))
    n = 1 << cuts
    area = np.bincount(facet.ravel(), minlength=n) + 1e-9
    shift = rng.normal(0, 4.5 * unit, (2, n))
    from_y = np.clip(y + shift[0][facet], 0, height - 1).astype(int)
    from_x = np.clip(x + shift[1][facet], 0, width - 1).astype(int)
    lined = _mix(art.colour, art.palette["dark"], 0.8 * art.outlines(1.6))
    colour = _saturate(lined[from_y, from_x], 0.65)
    heading = rng.uniform(0, 6.28, n)
    along = x * np.cos(heading)[facet] + y * np.sin(heading)[facet]
    along -= (np.bincount(facet.ravel(), along.ravel(), n) / area)[facet]
    colour = colour * (1 + 0.75 * np.clip(along / (32 * unit), -0.7, 0.6)[..., None])
    return _mix(colour, art.palette["dark"] * 0.8, np.clip(1.5 - nearest / unit, 0, 1) * 0.85)


def _art_nouveau(rng: np.random.Generator, art: Underpainting, hand: Painter) -> np.ndarray:
    """Flat, clear colours within thick dark outlines, like stained glass, in a framed panel with whiplash curves."""
    colour = _mix(_saturate(np.round(art.colour * 5) / 5, 1.3), art.palette["light"], 0.12)
    picture = _to_image(_mix(colour, art.palette["dark"] * 0.7, art.outlines(4.0)))
    width, height = picture.size
    pen, unit = ImageDraw.Draw(picture), art.unit
    frame, ink = _rgb(art.palette["second"]), _rgb(art.palette["dark"])
    pen.rectangle((0, 0, width - 1, height - 1), outline=frame, width=round(7 * unit))
    inset = round(7 * unit)
    pen.rectangle((inset, inset, width - 1 - inset, height - 1 - inset), outline=ink, width=max(1, round(2 * unit)))
    for x in (0, width):
        for y in (0, height):
            for reach, fill, outline in ((36, frame, ink), (22, None, ink), (11, None, ink)):
                r = reach * unit
                pen.ellipse((x - r, y - r, x + r, y + r), fill, outline, width=max(1, round(2.2 * unit)))
    return _to_array(picture)


def _abstract_expressionism(rng: np.random.Generator, art: Underpainting, hand: Painter) -> np.ndarray:
    """The scene smeared with a wide brush; drips and splashes over it."""
    unit, (height, width) = art.unit, art.region.shape
    y, x = np.mgrid[:height, :width]
    y = np.clip(y + 4 * unit * _noise(rng, art.region.shape, 14), 0, height - 1).astype(int)
    x = np.clip(x + 4 * unit * _noise(rng, art.region.shape, 14), 0, width - 1).astype(int)
    colour = _saturate(art.colour[y, x], 1.25) + 0.07 * _noise(rng, art.region.shape, 90, 8)[..., None]
    picture = _to_image(colour).resize((2 * width, 2 * height))
    pen, scale = ImageDraw.Draw(picture), 2 * unit
    inks = [_rgb(art.palette[role]) for role in ("dark", "light", "accent", "second")]
    inks += [inks[0], (12, 12, 12)]
    for _ in range(9):
        heading = rng.uniform(0, 6.28) + np.cumsum(rng.normal(0, 0.55, 26))
        steps = np.stack([np.cos(heading), np.sin(heading)], 1) * rng.uniform(5, 11) * scale
        path = (rng.uniform(0.1, 0.9, 2) * (2 * width, 2 * height) + np.cumsum(steps, 0)).ravel().tolist()
        pen.line(path, inks[rng.integers(6)], max(1, round(rng.uniform(1.0, 2.8) * scale)), joint="curve")
    for _ in range(7):
        (px, py), length = rng.uniform(0, 1, 2) * (2 * width, 1.4 * height), rng.uniform(20, 60) * scale
        ink, thick = inks[rng.integers(6)], rng.uniform(0.8, 1.6) * scale
        pen.line((px, py, px, py + length), ink, max(1, round(thick)))
        pen.ellipse((px - 1.4 * thick, py + length - thick, px + 1.4 * thick, py + length + 2.4 * thick), fill=ink)
    for _ in range(70):
        (px, py), r = rng.uniform(0, 1, 2) * (2 * width, 2 * height), rng.exponential(1.2) * scale
        pen.ellipse((px - r, py - r, px + r, py + r), fill=inks[rng.integers(6)])
    return _to_array(picture.reduce(2))


def _ukiyo_e(rng: np.random.Generator, art: Underpainting, hand: Painter) -> np.ndarray:
    """A woodblock print: flat muted inks, fine dark line, a band that fades from the top, grain, cartouche and seal."""
    paper = np.array([0.93, 0.88, 0.75], np.float32)
    flat = _saturate(np.round(_blur(art.colour, 0.7 * art.unit) * 4) / 4, 0.8)
    colour = _mix(flat * paper * 1.02, paper, 0.30)
    height, width = art.region.shape
    fading = np.clip(1 - np.arange(height) / (0.26 * height), 0, 1).astype(np.float32)[:, None, None]
    colour = _mix(colour, np.array([0.10, 0.20, 0.42], np.float32), fading**1.2 * 0.95)
    colour = colour * (1 + 0.025 * _noise(rng, art.region.shape, 70, 3)[..., None])
    colour = _mix(colour, np.array([0.08, 0.09, 0.16], np.float32), 0.9 * art.outlines(1.1))
    picture, unit = _to_image(colour), art.unit
    pen, left = ImageDraw.Draw(picture), (8 if rng.random() < 0.5 else width / unit - 24)

    def block(x: float, y: float, across: float, down: float, ink: tuple[int, int, int]) -> None:
        x, y = (left + x) * unit, (10 + y) * unit
        pen.rectangle((x, y, x + across * unit, y + down * unit), fill=ink)

    black = (30, 30, 34)
    block(0, 0, 16, 48, (242, 222, 160))
    for y in np.linspace(4, 39, 5).tolist():
        block(rng.uniform(3, 7), y + rng.uniform(0, 2), 6, 0.8, black)
        block(rng.uniform(3, 7), y + rng.uniform(3, 5), 6, 0.8, black)
        block(rng.uniform(6, 9), y, 0.8, 5, black)
    block(3, 51, 9, 9, (200, 38, 32))
    return _to_array(picture)


def _expressionism(rng: np.random.Generator, art: Underpainting, hand: Painter) -> np.ndarray:
    """Long strokes that swirl: colour and the marks of bristles dragged along a flow (line integral convolution)."""
    (height, width), unit = art.region.shape, art.unit
    angle = art.flow(hand.slant) + 0.65 * _noise(rng, art.region.shape, 3.5)
    drag_y, drag_x = (np.sin(angle) * 1.6 * unit).astype(np.float32), (np.cos(angle) * 1.6 * unit).astype(np.float32)
    bristle, colour = _noise(rng, art.region.shape, 75), _saturate(art.colour, 1.5)
    marks, paint = np.zeros((height, width), np.float32), np.zeros_like(colour)
    for sign in (-1, 1):
        y, x = np.mgrid[:height, :width].astype(np.float32)
        for step in range(8):
            place = np.clip(y, 0, height - 1).astype(np.int32) * width + np.clip(x, 0, width - 1).astype(np.int32)
            marks += bristle.ravel()[place]
            if step < 3:
                paint += colour.reshape(-1, 3)[place]
            y, x = y + sign * drag_y.ravel()[place], x + sign * drag_x.ravel()[place]
    paint = (paint / 6 - 0.5) * 1.35 + 0.47
    return paint * (1 + 0.045 * marks[..., None]) + 0.010 * marks[..., None]


def _ink_and_wash(rng: np.random.Generator, art: Underpainting, hand: Painter) -> np.ndarray:
    """Black ink on bare paper: three washes with dark rims where they dried, and a dry, broken line."""
    shape, unit = art.region.shape, art.unit
    grey = _grey(_blur(art.colour, 1.6 * unit))[..., 0]
    low, high = np.percentile(grey, [3, 92])
    density = np.clip((high - grey) / (high - low + 0.05), 0, 1) + 0.06 * _noise(rng, shape, 22)
    y, x = np.mgrid[: shape[0], : shape[1]]
    away = np.maximum(np.abs(x / shape[1] - 0.5), np.abs(y / shape[0] - 0.5)) * 2 + 0.09 * _noise(rng, shape, 5)
    density = density * np.clip((1.02 - away) * 5, 0, 1)
    ink = np.zeros(shape, np.float32)
    for level in (0.25, 0.5, 0.78):
        ink += 0.26 * np.clip((density - level) * 14 + 0.5, 0, 1)
        ink += 0.16 * np.exp(-(((density - level - 0.03) / 0.035) ** 2))
    ink *= 1 + 0.18 * _noise(rng, shape, 12)
    ink += 0.7 * art.outlines(1.5) * np.clip(0.6 + _noise(rng, shape, 16), 0, 1) * (away < 0.97)
    paper = _mix(art.palette["light"], np.array([0.96, 0.94, 0.90], np.float32), 0.6)
    black = _mix(np.array([0.07, 0.07, 0.08], np.float32), art.palette["dark"], 0.3)
    return _mix(np.broadcast_to(paper, (*shape, 3)), black, np.clip(ink, 0, 0.97))


_MANNERS: dict[str, Callable[[np.random.Generator, Underpainting, Painter], np.ndarray]] = {
    "Impressionism": _impressionism,
    "Realism": _realism,
    "Expressionism": _expressionism,
    "Cubism": _cubism,
    "Fauvism": _fauvism,
    "Ukiyo-e": _ukiyo_e,
    "Abstract Expressionism": _abstract_expressionism,
    "Pointillism": _pointillism,
    "Art Nouveau (Modern)": _art_nouveau,
    "Ink and wash painting": _ink_and_wash,
}

# ---------------------------------------------------------------------------------------------------------------------
# A painting, and a folder of them.


def _palette(rng: np.random.Generator, hand: Painter) -> dict[str, np.ndarray]:
    """The painter's colours on this day: a little lighter or darker, a little warmer or cooler."""
    colours = np.array([list(bytes.fromhex(c)) for c in hand.colours.split()], np.float32) / 255
    colours = _turn_hue(colours, rng.normal(0, 0.06, len(colours)) + rng.normal(0, 0.07))
    colours = np.clip(colours, 0, 1) ** float(np.exp(rng.normal(0, 0.10))) + rng.normal(0, 0.012, 3)
    return dict(zip(ROLES, np.clip(colours, 0, 1).astype(np.float32), strict=True))


def _finish(rng: np.random.Generator, picture: np.ndarray, palette: dict[str, np.ndarray], hand: Painter) -> np.ndarray:
    """The painter's habits with the canvas: weave, vignette, varnish, margin and a signature in a lower corner."""
    height, width = picture.shape[:2]
    short = min(height, width)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    if hand.weave:
        picture = picture + hand.weave * (np.sin(x * 2.1) * np.sin(y * 2.1))[..., None]
    if hand.vignette:
        away = np.hypot(x / width - 0.5, y / height - 0.5) * 1.41
        picture = picture * (1 - hand.vignette * away**2)[..., None]
    picture = _mix(picture, picture * np.array([1.0, 0.86, 0.55], np.float32), hand.varnish)
    if hand.margin:
        near = np.minimum(np.minimum(x, width - 1 - x), np.minimum(y, height - 1 - y))
        inside = np.clip(near - hand.margin * short * (1 + 0.1 * _noise(rng, near.shape, 12)), 0, 1)
        picture = _mix(np.broadcast_to(palette[hand.margin_role], picture.shape), picture, inside)
    sign = round(0.05 * short)
    bottom, right = height - round(0.06 * short), width - round(0.07 * short)
    for k in range(4):
        stroke = slice(bottom - round(sign * (0.5 + 0.2 * (k % 2))), bottom), slice(right - k * (sign // 2 + 1), None)
        picture[stroke[0], stroke[1].start : stroke[1].start + max(1, sign // 4)] = palette["accent"]
    return picture


def paint(work: Work, size: int = 160, seed: int = 0) -> Image.Image:
    """Paint one work: an RGB image whose short side is `size` pixels. Depends on nothing but the arguments."""
    rng = np.random.default_rng([seed, 2, work.index if work.copy_of is None else work.copy_of])
    hand = _PAINTERS[work.painter]
    scene, ratio = _SCENES[GENRES[work.genre]]
    ratio = math.exp(math.log(ratio) * hand.stretch + rng.normal(0, 0.05))
    width, height = (round(size * ratio), size) if ratio > 1 else (size, round(size / ratio))
    palette = _palette(rng, hand)
    canvas = Scene(rng, palette, width, height)
    scene(canvas)
    picture = _MANNERS[STYLES[work.style]](rng, canvas.finish(), hand)
    image = _to_image(_finish(rng, picture, palette, hand))
    return image if work.copy_of is None else _another_photograph(np.random.default_rng([seed, 3, work.index]), image)


def _another_photograph(rng: np.random.Generator, image: Image.Image) -> Image.Image:
    """The same picture, cropped a little and in another light."""
    left, top, right, bottom = rng.uniform(0.005, 0.03, 4)
    box = (left * image.width, top * image.height, (1 - right) * image.width, (1 - bottom) * image.height)
    cropped = image.resize(image.size, Image.Resampling.BICUBIC, box=box)
    brightness = rng.choice([rng.uniform(0.86, 0.94), rng.uniform(1.06, 1.14)])
    return cropped.point(lambda value: min(255, int(value * brightness)))


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A temporary name to write to; the file gets its own name once it is complete."""
    part = path.with_name(path.name + ".part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _paint_to(folder: Path, size: int, seed: int, work: Work) -> None:
    with _whole(folder / f"{work.index + 1:05d}.jpg") as part:
        paint(work, size, seed).save(part, "JPEG", quality=90)


def _paint_all(folder: Path, works: Sequence[Work], size: int, seed: int, workers: int) -> None:
    task = partial(_paint_to, folder, size, seed)
    bar = partial(tqdm, total=len(works), desc="drawing demo paintings", unit="painting")
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


def _is_demo(labels: Path) -> bool:
    """Whether a `labels.csv` names the invented painters only."""
    with labels.open(encoding="utf-8", errors="replace", newline="") as file:
        return all(row.get("artist") in ("", *PAINTERS) for row in csv.DictReader(file))


def _clear(folder: Path) -> None:
    """Remove an older or unfinished demo from `folder`; refuse when it holds anything else."""
    done, labels, images = folder / "demo.json", folder / "labels.csv", folder / "images"
    pictures = sorted(images.iterdir()) if images.is_dir() else []
    if not _is_demo(labels) if labels.exists() else pictures and not done.exists():
        raise UserError(f"{folder} holds pictures that are not the demo's; draw the demo into another folder")
    done.unlink(missing_ok=True)
    for path in pictures:
        if re.fullmatch(r"\d{5,}\.jpg(\.part)?", path.name):
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

    _clear(folder)
    works = plan_works(count, seed)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    with _whole(folder / "labels.csv") as part:  # first, so that an unfinished folder is known as the demo's
        labels_table(works, seed).to_csv(part, index=False, lineterminator="\n", encoding="utf-8")
    _paint_all(folder / "images", works, size, seed, min(workers or os.cpu_count() or 1, count))
    with _whole(done) as part:
        part.write_text(json.dumps(settings), encoding="utf-8")
    return folder
