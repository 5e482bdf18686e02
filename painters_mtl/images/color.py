"""Colours become sRGB, by the ICC profile that a picture carries: the same numbers then mean the same colours.

A picture without a profile is taken for sRGB, as is one whose profile is damaged or made for another kind of colours
than the picture has (a CMYK profile in an RGB file, say). A profile that is as good as sRGB's own changes nothing.
"""

import contextlib
import io
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageCms

SAME = 2  # levels of 255: a profile that changes no colour by more is sRGB's own
SMALL = 200_000  # pixels; for fewer, a table of all colours costs more than it saves
SPACES = {"RGB": "RGB ", "L": "GRAY", "CMYK": "CMYK"}  # Pillow's mode: the profile's colour space


def to_srgb(image: Any, profile: bytes | None) -> Any:
    """A picture of mode RGB, L or CMYK in mode RGB and sRGB's colours.

    Args:
        image: of Pillow.
        profile: the ICC profile, None where there is none; inks and greys are then converted by plain formulas.
    """
    if profile and (transform := _transform(profile, image.mode, image.width * image.height < SMALL)):
        return ImageCms.applyTransform(image, transform)
    return image.convert("RGB")


def lab_to_rgb(image: Any) -> Any:
    """A picture of mode LAB in mode RGB."""
    with contextlib.suppress(Exception):  # no LittleCMS: the plain conversion
        return ImageCms.applyTransform(image, _lab_transform(image.width * image.height < SMALL))
    return image.convert("RGB")


@lru_cache(maxsize=64)
def _transform(profile: bytes, mode: str, small: bool) -> ImageCms.ImageCmsTransform | None:
    """What turns the profile's colours into sRGB's; None where nothing is to be done, or can be."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space != SPACES[mode]:
            return None
        transform = _build(source, mode, small)
        if mode != "CMYK":
            colours = _lattice(mode)
            changed = np.asarray(ImageCms.applyTransform(colours, transform)).astype(int)
            if np.abs(changed - np.asarray(colours.convert("RGB"))).max() <= SAME:
                return None
        return transform
    except Exception:  # damaged, or Pillow is built without LittleCMS
        return None


@lru_cache(maxsize=2)
def _lab_transform(small: bool) -> ImageCms.ImageCmsTransform:
    return _build(ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")), "LAB", small)


def _build(source: ImageCms.ImageCmsProfile, mode: str, small: bool) -> ImageCms.ImageCmsTransform:
    flags = ImageCms.Flags.NOCACHE  # many threads use it
    flags |= ImageCms.Flags.NOOPTIMIZE if small else ImageCms.Flags.NONE
    return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB", flags=flags)


def _lattice(mode: str) -> Any:
    """A picture of colours from all over the space: every grey, or 11 levels of each of red, green and blue."""
    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    levels = np.linspace(0, 255, 11).astype(np.uint8)
    return Image.fromarray(np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, -1, 3))
