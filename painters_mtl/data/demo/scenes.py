"""What the demo's pictures show: a canvas for flat shapes, and on it one composition for each of the 23 genres.

A scene knows neither painter nor style: it asks for colours by their role in a palette, and gives an `Underpainting`,
which `styles` paints over. All sizes are shares of the short side. Long because it holds a drawing for each genre.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

Point = tuple[float, float]
Ink = tuple[int, int, int]
Palette = dict[str, np.ndarray]  # role (demo_styles.ROLES) to RGB, float32 from 0 to 1

# ---------------------------------------------------------------------------------------------------------------------
# Arrays of colour: float32 from 0 to 1, shape (height, width, 3).


def to_image(array: np.ndarray) -> Image.Image:
    return Image.fromarray((np.clip(array, 0, 1) * 255 + 0.5).astype(np.uint8))


def to_array(image: Image.Image) -> np.ndarray:
    return np.asarray(image, np.float32) / 255


def blur(array: np.ndarray, radius: float) -> np.ndarray:
    return to_array(to_image(array).filter(ImageFilter.GaussianBlur(radius)))


def luminance(colour: np.ndarray) -> np.ndarray:
    """The last axis of three becomes one."""
    return 0.30 * colour[..., :1] + 0.59 * colour[..., 1:2] + 0.11 * colour[..., 2:]


def inks(colours: np.ndarray) -> list[Ink]:
    """Colours, (n, 3), as Pillow's pens take them."""
    return [(red, green, blue) for red, green, blue in (np.clip(colours, 0, 1) * 255).astype(int).tolist()]


def ink(colour: np.ndarray) -> Ink:
    return inks(colour[None])[0]


# ---------------------------------------------------------------------------------------------------------------------
# The canvas.


@dataclass
class Underpainting:
    """A finished scene, as the styles take it up."""

    colour: np.ndarray  # (height, width, 3)
    region: np.ndarray  # (height, width) uint8: which shape lies on top
    palette: Palette

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
        return np.clip(blur(np.clip(edge, 0, 1), 0.45 * pixels) * 1.9 * max(1.0, pixels / 1.6), 0, 1)

    def flow(self, slant: float) -> np.ndarray:
        """Direction of the brush in radians, (height, width): along the shapes, and by habit where there are none."""
        dy, dx = np.gradient(blur(luminance(self.colour)[..., 0], 3 * self.unit))
        along = (dx + 1j * dy) ** 2 * -900  # doubled angles: a stroke has no head and no tail
        return np.angle(along + 0.6 * np.exp(2j * slant)) / 2


def _around(x: float, y: float, rx: float, ry: float, angle: float) -> Point:
    """The point at `angle` on an ellipse about (x, y)."""
    return x + rx * math.cos(angle), y + ry * math.sin(angle)


def _at(x: float, y: float, size: float, points: Sequence[Point], side: int = 1) -> list[Point]:
    """A shape given in its own coordinates, moved to (x, y) and scaled; `side` -1 mirrors it."""
    return [(x + side * dx * size, y + dy * size) for dx, dy in points]


class Scene:
    """A canvas for flat shapes. The short side is 1; x runs to `w`, y down to `h`. Drawn at twice the size."""

    def __init__(self, rng: np.random.Generator, palette: Palette, width: int, height: int) -> None:
        self.rng, self.palette = rng, palette
        self.w, self.h = width / min(width, height), height / min(width, height)
        self._scale = 2 * min(width, height)
        self._size = (2 * width, 2 * height)
        self._colour, self._region = Image.new("RGB", self._size), Image.new("L", self._size)
        self._pens = ImageDraw.Draw(self._colour), ImageDraw.Draw(self._region)
        self._shape = 0

    def uniform(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def some(self, low: int, high: int) -> int:
        """A random number, both ends included."""
        return int(self.rng.integers(low, high + 1))

    def pick(self, *roles: str) -> str:
        return str(self.rng.choice(roles))

    def tone(self, role: str, light: float = 0.0) -> Ink:
        """The palette's colour, a little different each time; `light` from -1 (black) to 1 (white)."""
        rgb = self.palette[role] + self.rng.normal(0, 0.018, 3)
        return ink(rgb + (1 - rgb) * light if light > 0 else rgb * (1 + light))

    def _next_shape(self) -> int:
        self._shape = (self._shape + 1) % 256
        return self._shape

    def _inks(self, role: str, light: float, join: bool = False) -> Iterator[tuple[ImageDraw.ImageDraw, Ink | int]]:
        """The pens of the two pictures, colour and region, each with its ink; with `join` the last shape goes on."""
        shape = self._shape if join else self._next_shape()
        return zip(self._pens, (self.tone(role, light), shape), strict=True)

    def _scaled(self, *points: Point) -> list[Point]:
        return [(x * self._scale, y * self._scale) for x, y in points]

    def polygon(self, points: Sequence[Point], role: str, light: float = 0.0) -> None:
        for pen, fill in self._inks(role, light):
            pen.polygon(self._scaled(*points), fill)

    def box(self, x0: float, y0: float, x1: float, y1: float, role: str, light: float = 0.0) -> None:
        self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], role, light)

    def fill(self, role: str, light: float = 0.0) -> None:
        self.box(0, 0, self.w, self.h, role, light)

    def ellipse(
        self, x: float, y: float, rx: float, ry: float, role: str, light: float = 0.0, join: bool = False
    ) -> None:
        for pen, fill in self._inks(role, light, join):
            pen.ellipse(self._scaled((x - rx, y - ry), (x + rx, y + ry)), fill)

    def ring(self, x: float, y: float, r: float, width: float, role: str, light: float = 0.0) -> None:
        for pen, fill in self._inks(role, light):
            box = self._scaled((x - r, y - r), (x + r, y + r))
            pen.ellipse(box, outline=fill, width=max(1, round(width * self._scale)))

    def line(self, points: Sequence[Point], width: float, role: str, light: float = 0.0) -> None:
        for pen, fill in self._inks(role, light):
            pen.line(self._scaled(*points), fill, max(1, round(width * self._scale)), joint="curve")

    def fade(self, y0: float, y1: float, above: str, below: str, light: float = 0.0) -> None:
        """A band across the canvas that changes from one colour to another."""
        top, bottom = round(y0 * self._scale), max(round(y0 * self._scale) + 1, round(y1 * self._scale))
        ramp = np.linspace(self.tone(above, light), self.tone(below, light), bottom - top).astype(np.uint8)
        self._colour.paste(Image.fromarray(ramp[:, None]).resize((self._size[0], bottom - top)), (0, top))
        self._pens[1].rectangle((0, top, self._size[0], bottom), self._next_shape())

    def finish(self) -> Underpainting:
        """Look at the scene from nearer or farther, mirror half of them, and let light fall in from somewhere."""
        (width, height), zoom = self._size, self.uniform(1, 1.2)
        left, top = (self.uniform(0, side - side / zoom) for side in self._size)
        view = (left, top, left + width / zoom, top + height / zoom)
        size, step = (width // 2, height // 2), -1 if self.rng.random() < 0.5 else 1
        colour = to_array(self._colour.resize(size, Image.Resampling.BILINEAR, box=view))[:, ::step]
        region = np.asarray(self._region.resize(size, Image.Resampling.NEAREST, box=view))[:, ::step]
        angle, strength = self.uniform(0, 6.28), self.uniform(0.05, 0.3)
        y, x = np.mgrid[-1 : 1 : size[1] * 1j, -1 : 1 : size[0] * 1j].astype(np.float32)
        light = 1 + strength * (x * math.cos(angle) + y * math.sin(angle))
        return Underpainting(np.clip(colour * light[..., None], 0, 1), region, self.palette)

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
            place = _around(x, y, 0.6 * r, 0.6 * r, turn + 6.283 * k / petals)
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
    for x in np.sort(s.rng.uniform(0.05, 0.95, s.some(3, 6))) * s.w:
        s.tree(float(x), s.uniform(horizon + 0.3, 0.98 * s.h), s.uniform(0.18, 0.32))


def _cloudscape(s: Scene) -> None:
    s.fade(0, s.h, "sky", "haze")
    for level in np.linspace(0.16, 0.66, s.some(4, 6)):
        s.cloud(s.uniform(0.05, 0.95) * s.w, float(level) * s.h, s.uniform(0.22, 0.36))
    s.ridge(0.9 * s.h, 0.008, "ground", -0.1)


def _marina(s: Scene) -> None:
    horizon = s.uniform(0.36, 0.62) * s.h
    s.fade(0, horizon, *s.rng.permutation(["sky", "haze"]).tolist())
    for _ in range(s.some(0, 2)):
        s.cloud(s.uniform(0, 1) * s.w, s.uniform(0.05, 0.25) * s.h, s.uniform(0.12, 0.25))
    s.ellipse(s.uniform(0.15, 0.85) * s.w, horizon - 0.1, 0.07, 0.07, "second", 0.3)
    s.fade(horizon, s.h, "water", "water", -0.05)
    for y in np.linspace(horizon + 0.05, s.h, 9):
        for _ in range(3):
            x, reach = s.uniform(0, s.w), s.uniform(0.08, 0.25)
            s.line([(x, y), (x + reach / 2, y - 0.012), (x + reach, y)], 0.015, "water", s.uniform(0.15, 0.45))
    for _ in range(s.some(1, 3)):
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
    for _ in range(s.some(2, 5)):
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
        s.ellipse(*_around(px, py, 0.2, 0.1, 2.4 + k * 0.9), 0.045, 0.04, role)
    s.line([(px, py), (px + 0.25, py - 0.4)], 0.025, "dark")


def _genre_painting(s: Scene) -> None:
    s.fill("stone", -0.3)
    s.box(0, 0.72 * s.h, s.w, s.h, "ground", -0.2)
    lamp = s.uniform(0.4, 0.6) * s.w
    s.polygon([(lamp, 0.1), (lamp - 0.6, 0.8 * s.h), (lamp + 0.6, 0.8 * s.h)], "haze", -0.15)
    s.ellipse(lamp, 0.1, 0.07, 0.05, "second", 0.3)
    roles = ["accent", "water", "leaf", "light", "second", "dark"]
    n = s.some(4, 6)
    for k, x in enumerate(np.linspace(0.12, 0.88, n) * s.w):
        s.person(float(x) + s.uniform(-0.03, 0.03), s.uniform(0.84, 0.97) * s.h, s.uniform(0.55, 0.68), roles[k])
    s.polygon(_at(lamp, 0.7 * s.h, 1, [(-0.34, 0), (0.34, 0), (0.42, 0.1), (-0.42, 0.1)]), "light")
    s.box(lamp - 0.38, 0.7 * s.h + 0.1, lamp + 0.38, 0.7 * s.h + 0.16, "stone", -0.2)
    for dx in (-0.2, 0.0, 0.18):
        s.ellipse(lamp + dx, 0.73 * s.h, 0.05, 0.04, s.pick("accent", "second"))


def _religious_painting(s: Scene) -> None:
    s.fill("dark", 0.1)
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
    s.fill(s.pick("stone", "water", "haze"), -0.25)
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
    for _ in range(s.some(2, 4)):
        s.fruit(s.uniform(0.2, 0.9) * s.w, s.uniform(edge + 0.2, s.h - 0.08), s.uniform(0.08, 0.1))


def _flower_painting(s: Scene) -> None:
    s.fill(s.pick("haze", "stone", "dark"), -0.05)
    s.box(0, 0.85 * s.h, s.w, s.h, "ground")
    cx, cy = s.w / 2 + s.uniform(-0.06, 0.06), 0.4 * s.h
    s.polygon([(cx - 0.13, 0.64 * s.h), (cx + 0.13, 0.64 * s.h), (cx + 0.2, 0.8 * s.h), (cx + 0.1, 0.95 * s.h),
               (cx - 0.1, 0.95 * s.h), (cx - 0.2, 0.8 * s.h)], "water")  # fmt: skip
    for _ in range(12):
        s.blob(cx + s.uniform(-0.38, 0.38), cy + s.uniform(-0.3, 0.32), 0.12, "leaf", s.uniform(-0.2, 0.1))
    for k in range(s.some(11, 15)):
        r = 0.38 * math.sqrt((k + 0.5) / 13)
        place = _around(cx, cy, r, 0.95 * r, 2.4 * k)
        s.flower(*place, s.uniform(0.1, 0.14), s.pick("accent", "second", "light", "accent", "sky"))


# What a sheet of studies shows: the ring of a head (how far above the middle, its radius) and lines.
_STUDIES: tuple[tuple[Point | None, tuple[tuple[Point, ...], ...]], ...] = (
    (  # a gesture
        (0.8, 0.24),
        (
            ((-0.3, -0.45), (0.3, -0.45), (0.12, 0.25), (-0.12, 0.25), (-0.3, -0.45)),
            ((0.3, -0.45), (0.75, -0.2), (0.6, -0.75)),
            ((-0.3, -0.45), (-0.65, -0.05), (-0.35, 0.2)),
            ((0.12, 0.25), (0.45, 0.65), (0.3, 1.15)),
            ((-0.12, 0.25), (-0.25, 0.7), (-0.5, 1.15)),
        ),
    ),
    (  # the construction of a head
        (0.2, 0.62),
        (
            ((-0.6, -0.1), (-0.4, 0.6), (0, 0.95), (0.4, 0.6), (0.6, -0.1)),
            ((0, -0.95), (0, 1.05)),
            ((-0.75, -0.05), (0.75, -0.05)),
            ((-0.2, 0.5), (0.2, 0.5)),
        ),
    ),
    (  # a cube
        None,
        (
            ((-0.7, -0.3), (0.2, -0.3), (0.2, 0.7), (-0.7, 0.7), (-0.7, -0.3)),
            ((-0.7, -0.3), (-0.2, -0.8), (0.7, -0.8), (0.2, -0.3)),
            ((0.7, -0.8), (0.7, 0.2), (0.2, 0.7)),
        ),
    ),
)
_HATCHING = tuple(((0.3 + t, 0.75), (0.75 + t, 0.2)) for t in (0.0, 0.17, 0.34, 0.51))


def _sketch_and_study(s: Scene) -> None:
    s.fill("light", -0.03)
    first = int(s.rng.integers(3))
    for k in range(4):
        x = (0.28 + 0.46 * (k % 2)) * s.w + s.uniform(-0.03, 0.03)
        y = (0.27 + 0.47 * (k // 2)) * s.h + s.uniform(-0.03, 0.03)
        size = s.uniform(0.15, 0.18)
        head, lines = _STUDIES[(first + k) % 3]
        if head:
            s.ring(x, y - head[0] * size, head[1] * size, 0.016, "dark")
        for points in (*lines, *_HATCHING):
            s.line(_at(x, y, size, points), 0.016, "dark")


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
    s.fill("stone", 0.3)
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
        place = _around(cx, y, 0.28 * size, 0.32 * size, math.pi * (1 + k / 6))
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
        ray = [_around(cx, cy, q, q, angle + da) for q, da in ((0.25, -0.1), (0.62, 0), (0.25, 0.1))]
        s.polygon(ray, "second")
    t = np.linspace(-1, 1, 15).tolist()
    lids = [(r * a, -0.24 * (1 - a * a)) for a in t] + [(-r * a, 0.2 * (1 - a * a)) for a in t]
    s.polygon(_at(cx, cy, 1, lids), "light", 0.3)
    s.ellipse(cx, cy - 0.01, 0.16, 0.16, s.pick("accent", "leaf"))
    s.ellipse(cx, cy - 0.01, 0.075, 0.075, "dark", -0.4)
    for k in range(4):
        half, y = 0.22 + 0.08 * k, (0.76 + 0.06 * k) * s.h
        s.box(cx - half, y, cx + half, y + 0.07 * s.h, "stone", 0.25 - 0.17 * k)


def _illustration(s: Scene) -> None:
    s.fill("light", 0.3)
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
    s.fill("haze")
    cx, cy, petals = s.w / 2, s.h / 2, int(s.rng.choice([6, 8, 10, 12]))
    s.ellipse(cx, cy, 0.48, 0.48, "dark")
    for radius, reach, role in ((0.34, 0.12, "accent"), (0.22, 0.1, "second"), (0.11, 0.07, "light")):
        s.ellipse(cx, cy, radius + reach * 0.6, radius + reach * 0.6, s.pick("water", "leaf", "stone"))
        for k in range(petals):
            angle = 6.283 * (k + (0.5 if radius < 0.3 else 0)) / petals
            r = 1.9 * radius / petals
            s.ellipse(*_around(cx, cy, radius, radius, angle), r, r, role)
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
        for _ in range(s.some(1, 2)):
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
    s.fill(s.pick("haze", "stone", "second"))
    roles = ("accent", "second", "water", "dark", "light", "leaf", "sky")
    for _ in range(s.some(3, 5)):
        x, y, tilt = s.uniform(-0.1, 0.7) * s.w, s.uniform(-0.1, 0.7) * s.h, s.uniform(-0.25, 0.25)
        a, b = s.uniform(0.25, 0.6), s.uniform(0.15, 0.4)
        s.polygon(_at(x, y, 1, [(0, 0), (a, tilt), (a - tilt, tilt + b), (-tilt, b)]), s.pick(*roles))
    for r in s.rng.uniform(0.08, 0.2, s.some(2, 4)):
        s.ellipse(s.uniform(0.1, 0.9) * s.w, s.uniform(0.1, 0.9) * s.h, r, r, s.pick(*roles))
    for _ in range(s.some(3, 5)):
        ends = [(s.uniform(0, s.w), s.uniform(0, s.h)) for _ in range(2)]
        s.line(ends, s.uniform(0.015, 0.05), s.pick("dark", "accent"))
    x, y = s.uniform(0.2, 0.7) * s.w, s.uniform(0.2, 0.7) * s.h
    s.polygon([(x, y), (x + s.uniform(0.2, 0.4), y + 0.1), (x + 0.05, y + s.uniform(0.2, 0.4))], s.pick(*roles))


# Which scene stands for which genre, and the width of its canvas when the height is 1.
SCENES: dict[str, tuple[Callable[[Scene], None], float]] = {
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
