"""How the demo's pictures are painted: eight invented painters with their canvas habits, and ten styles.

A style is a function that takes an `Underpainting` (see `scenes`) and returns a picture of the same shape. Long because
it holds a way of painting for each style.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from painters_mtl.data.demo.scenes import (
    SCENES,
    Ink,
    Palette,
    Scene,
    Underpainting,
    blur,
    ink,
    inks,
    luminance,
    to_array,
    to_image,
)

ROLES = ("sky", "haze", "ground", "leaf", "water", "stone", "skin", "dark", "light", "accent", "second")


@dataclass(frozen=True)
class Painter:
    """An invented painter: how often, what, in which colours and on which canvas."""

    name: str
    share: float  # of all works
    style: str  # the painter's own; see demo.STYLE_GIVEN_PAINTER
    genre: str  # the favourite; see demo.GENRE_GIVEN_PAINTER
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
HANDS = (
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
# fmt: on

# ---------------------------------------------------------------------------------------------------------------------
# Colours, noise and strokes.


def _saturate(colour: np.ndarray, factor: float) -> np.ndarray:
    grey = luminance(colour)
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
    picture = to_image(base).resize((2 * base.shape[1], 2 * base.shape[0]))
    pen, thick = ImageDraw.Draw(picture), max(2, round(2 * width))
    dx, dy = np.cos(angle) * length, np.sin(angle) * length
    ends = np.stack([2 * x - dx, 2 * y - dy, 2 * x + dx, 2 * y + dy], 1).tolist()
    for end, fill in zip(ends, inks(colour), strict=True):
        pen.line(end, fill, thick)
    return to_array(picture.reduce(2))


# ---------------------------------------------------------------------------------------------------------------------
# The styles.


def _realism(rng: np.random.Generator, art: Underpainting, hand: Painter) -> np.ndarray:
    """Smooth modelling: shapes turn away from a light at the upper left, in warm, subdued colour."""
    colour = _saturate(blur(art.colour, 0.5 * art.unit), 0.75)
    relief = blur(1 - art.outlines(2.5), 2.2 * art.unit)
    dy, dx = np.gradient(relief, 1 / art.unit)
    height, width = art.region.shape
    y, x = np.mgrid[:height, :width]
    light = 1.15 - 0.5 * np.hypot(x / width - 0.3, y / height - 0.25)
    shade = light * (0.72 + 0.28 * relief) + np.clip((dx + dy) * 1.6, -0.22, 0.22)
    grain = 0.012 * _noise(rng, relief.shape, 60)
    return colour * shade[..., None] + grain[..., None]


def _impressionism(rng: np.random.Generator, art: Underpainting, hand: Painter) -> np.ndarray:
    """Short dabs of broken, light colour; violet in the shadows."""
    width = (2.4 + 0.6 * hand.stroke) * art.unit
    base = _mix(_saturate(blur(art.colour, 0.8 * art.unit), 1.35), 1.0, 0.14)
    base = base + np.clip(0.45 - luminance(base), 0, 1) * np.array([0.30, 0.12, 0.60], np.float32)
    x, y = _jittered_grid(rng, art.region.shape, 1.35 * width)
    angle = art.flow(hand.slant)[y, x] + rng.normal(0, 0.3, x.size)
    colour = base[y, x] + rng.normal(0, 0.04, (x.size, 3)) + rng.normal(0, 0.07, (x.size, 1))
    return _strokes(base, x, y, colour, angle, rng.uniform(2.0, 3.2, x.size) * width, width)


def _fauvism(rng: np.random.Generator, art: Underpainting, hand: Painter) -> np.ndarray:
    """Broad patches of violent colour, bare canvas showing between them, contours in dark blue."""
    width = (6.5 + 1.5 * hand.stroke) * art.unit
    x, y = _jittered_grid(rng, art.region.shape, 0.78 * width)
    colour = _saturate(blur(art.colour, art.unit)[y, x], 2.3)
    colour = _turn_hue(colour, rng.normal(0, 0.35, x.size) + 1.2 * (luminance(colour)[:, 0] < 0.38)) * 1.08 + 0.04
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
    base = _saturate(blur(art.colour, 0.8 * art.unit), 1.5)
    height, width = art.region.shape
    picture = Image.new("RGB", (2 * width, 2 * height), ink(_mix(art.palette["light"], 1.0, 0.5)))
    pen, step = ImageDraw.Draw(picture), (3.6 + 0.5 * hand.stroke) * art.unit
    x, y = _jittered_grid(rng, art.region.shape, 0.82 * step)
    colour = _turn_hue(base[y, x], rng.normal(0, 0.25, x.size) + 2.2 * (rng.random(x.size) < 0.12))
    radius = rng.uniform(0.8, 1.1, x.size) * step
    boxes = np.stack([2 * x - radius, 2 * y - radius, 2 * x + radius, 2 * y + radius], 1).tolist()
    for box, fill in zip(boxes, inks(colour + rng.normal(0, 0.06, (x.size, 1))), strict=True):
        pen.ellipse(box, fill)
    return to_array(picture.reduce(2))


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
    picture = to_image(_mix(colour, art.palette["dark"] * 0.7, art.outlines(4.0)))
    width, height = picture.size
    pen, unit = ImageDraw.Draw(picture), art.unit
    frame, dark = ink(art.palette["second"]), ink(art.palette["dark"])
    pen.rectangle((0, 0, width - 1, height - 1), outline=frame, width=round(7 * unit))
    inset = round(7 * unit)
    pen.rectangle((inset, inset, width - 1 - inset, height - 1 - inset), outline=dark, width=max(1, round(2 * unit)))
    for x in (0, width):
        for y in (0, height):
            for reach, fill in ((36, frame), (22, None), (11, None)):
                r = reach * unit
                pen.ellipse((x - r, y - r, x + r, y + r), fill, dark, width=max(1, round(2.2 * unit)))
    return to_array(picture)


def _abstract_expressionism(rng: np.random.Generator, art: Underpainting, hand: Painter) -> np.ndarray:
    """The scene smeared with a wide brush; drips and splashes over it."""
    unit, (height, width) = art.unit, art.region.shape
    y, x = np.mgrid[:height, :width]
    y = np.clip(y + 4 * unit * _noise(rng, art.region.shape, 14), 0, height - 1).astype(int)
    x = np.clip(x + 4 * unit * _noise(rng, art.region.shape, 14), 0, width - 1).astype(int)
    colour = _saturate(art.colour[y, x], 1.25) + 0.07 * _noise(rng, art.region.shape, 90, 8)[..., None]
    picture = to_image(colour).resize((2 * width, 2 * height))
    pen, scale = ImageDraw.Draw(picture), 2 * unit
    drips = [ink(art.palette[role]) for role in ("dark", "light", "accent", "second", "dark")] + [(12, 12, 12)]
    for _ in range(9):
        heading = rng.uniform(0, 6.28) + np.cumsum(rng.normal(0, 0.55, 26))
        steps = np.stack([np.cos(heading), np.sin(heading)], 1) * rng.uniform(5, 11) * scale
        path = (rng.uniform(0.1, 0.9, 2) * (2 * width, 2 * height) + np.cumsum(steps, 0)).ravel().tolist()
        pen.line(path, drips[rng.integers(6)], max(1, round(rng.uniform(1.0, 2.8) * scale)), joint="curve")
    for _ in range(7):
        (px, py), length = rng.uniform(0, 1, 2) * (2 * width, 1.4 * height), rng.uniform(20, 60) * scale
        fill, thick = drips[rng.integers(6)], rng.uniform(0.8, 1.6) * scale
        pen.line((px, py, px, py + length), fill, max(1, round(thick)))
        pen.ellipse((px - 1.4 * thick, py + length - thick, px + 1.4 * thick, py + length + 2.4 * thick), fill)
    for _ in range(70):
        (px, py), r = rng.uniform(0, 1, 2) * (2 * width, 2 * height), rng.exponential(1.2) * scale
        pen.ellipse((px - r, py - r, px + r, py + r), drips[rng.integers(6)])
    return to_array(picture.reduce(2))


def _ukiyo_e(rng: np.random.Generator, art: Underpainting, hand: Painter) -> np.ndarray:
    """A woodblock print: flat muted inks, fine dark line, a band that fades from the top, grain, cartouche and seal."""
    paper = np.array([0.93, 0.88, 0.75], np.float32)
    flat = _saturate(np.round(blur(art.colour, 0.7 * art.unit) * 4) / 4, 0.8)
    colour = _mix(flat * paper * 1.02, paper, 0.30)
    height, width = art.region.shape
    fading = np.clip(1 - np.arange(height) / (0.26 * height), 0, 1).astype(np.float32)[:, None, None]
    colour = _mix(colour, np.array([0.10, 0.20, 0.42], np.float32), fading**1.2 * 0.95)
    colour = colour * (1 + 0.025 * _noise(rng, art.region.shape, 70, 3)[..., None])
    colour = _mix(colour, np.array([0.08, 0.09, 0.16], np.float32), 0.9 * art.outlines(1.1))
    picture, unit = to_image(colour), art.unit
    pen, left = ImageDraw.Draw(picture), (8 if rng.random() < 0.5 else width / unit - 24)

    def block(x: float, y: float, across: float, down: float, fill: Ink) -> None:
        x, y = (left + x) * unit, (10 + y) * unit
        pen.rectangle((x, y, x + across * unit, y + down * unit), fill)

    black = (30, 30, 34)
    block(0, 0, 16, 48, (242, 222, 160))
    for y in np.linspace(4, 39, 5).tolist():
        block(rng.uniform(3, 7), y + rng.uniform(0, 2), 6, 0.8, black)
        block(rng.uniform(3, 7), y + rng.uniform(3, 5), 6, 0.8, black)
        block(rng.uniform(6, 9), y, 0.8, 5, black)
    block(3, 51, 9, 9, (200, 38, 32))
    return to_array(picture)


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
    grey = luminance(blur(art.colour, 1.6 * unit))[..., 0]
    low, high = np.percentile(grey, [3, 92])
    density = np.clip((high - grey) / (high - low + 0.05), 0, 1) + 0.06 * _noise(rng, shape, 22)
    y, x = np.mgrid[: shape[0], : shape[1]]
    away = np.maximum(np.abs(x / shape[1] - 0.5), np.abs(y / shape[0] - 0.5)) * 2 + 0.09 * _noise(rng, shape, 5)
    density = density * np.clip((1.02 - away) * 5, 0, 1)
    wash = np.zeros(shape, np.float32)
    for level in (0.25, 0.5, 0.78):
        wash += 0.26 * np.clip((density - level) * 14 + 0.5, 0, 1)
        wash += 0.16 * np.exp(-(((density - level - 0.03) / 0.035) ** 2))
    wash *= 1 + 0.18 * _noise(rng, shape, 12)
    wash += 0.7 * art.outlines(1.5) * np.clip(0.6 + _noise(rng, shape, 16), 0, 1) * (away < 0.97)
    paper = _mix(art.palette["light"], np.array([0.96, 0.94, 0.90], np.float32), 0.6)
    black = _mix(np.array([0.07, 0.07, 0.08], np.float32), art.palette["dark"], 0.3)
    return _mix(np.broadcast_to(paper, (*shape, 3)), black, np.clip(wash, 0, 0.97))


_STYLES: dict[str, Callable[[np.random.Generator, Underpainting, Painter], np.ndarray]] = {
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
# A painting.


def _palette(rng: np.random.Generator, hand: Painter) -> Palette:
    """The painter's colours on this day: a little lighter or darker, a little warmer or cooler."""
    colours = np.array([list(bytes.fromhex(c)) for c in hand.colours.split()], np.float32) / 255
    colours = _turn_hue(colours, rng.normal(0, 0.06, len(colours)) + rng.normal(0, 0.07))
    colours = np.clip(colours, 0, 1) ** float(np.exp(rng.normal(0, 0.10))) + rng.normal(0, 0.012, 3)
    return dict(zip(ROLES, np.clip(colours, 0, 1).astype(np.float32), strict=True))


def _finish(rng: np.random.Generator, picture: np.ndarray, palette: Palette, hand: Painter) -> np.ndarray:
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
        top, left = bottom - round(sign * (0.5 + 0.2 * (k % 2))), right - k * (sign // 2 + 1)
        picture[top:bottom, left : left + max(1, sign // 4)] = palette["accent"]
    return picture


def paint(rng: np.random.Generator, hand: Painter, style: str, genre: str, size: int) -> Image.Image:
    """An RGB image whose short side is `size` pixels. Depends on nothing but the arguments."""
    scene, ratio = SCENES[genre]
    ratio = math.exp(math.log(ratio) * hand.stretch + rng.normal(0, 0.05))
    width, height = (round(size * ratio), size) if ratio > 1 else (size, round(size / ratio))
    palette = _palette(rng, hand)
    canvas = Scene(rng, palette, width, height)
    scene(canvas)
    picture = _STYLES[style](rng, canvas.finish(), hand)
    return to_image(_finish(rng, picture, palette, hand))


def another_photograph(rng: np.random.Generator, image: Image.Image) -> Image.Image:
    """The same picture, cropped a little and in another light."""
    left, top, right, bottom = rng.uniform(0.005, 0.03, 4)
    box = (left * image.width, top * image.height, (1 - right) * image.width, (1 - bottom) * image.height)
    cropped = image.resize(image.size, Image.Resampling.BICUBIC, box=box)
    brightness = rng.choice([rng.uniform(0.86, 0.94), rng.uniform(1.06, 1.14)])
    return cropped.point(lambda value: min(255, int(value * brightness)))
