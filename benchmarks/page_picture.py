"""The picture of the page in the README and the guide, docs/page.png: one of its examples, drawn by code, labelled.

    python benchmarks/page_picture.py docs/page.png
    python benchmarks/page_picture.py docs/page.png --example 2 --model models/full

Starts `painters-mtl app`, and in Chromium takes an example and waits for its labels and its map. To be run again when
the page or the bundled model has changed. Needs the extras app and dev, and Chromium.
"""

import argparse
import io
import shutil
from pathlib import Path

from page import running
from PIL import Image
from playwright.sync_api import sync_playwright

WIDTH, SCALE = 960, 1.5  # of the window, in CSS pixels, and real pixels for each
COLOURS = 256  # of the PNG: a third of its size, and nobody sees it
MARGIN = 24  # below what speaks for a label, where the picture ends


def take(url: str, example: int) -> bytes:
    """A PNG of the tab Painting with an example, from the head to what speaks for a label."""
    with sync_playwright() as driver:
        chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 800}, device_scale_factor=SCALE)
        page.set_default_timeout(300_000)
        page.goto(url)
        page.locator("#painting-examples button").nth(example).click()
        page.wait_for_selector(".wipe")
        page.wait_for_selector("#card:not([disabled])")
        page.mouse.move(0, 0)
        page.evaluate("document.activeElement.blur()")
        page.wait_for_timeout(1_000)  # for what fades in
        end = page.evaluate("document.querySelector('.wipe').getBoundingClientRect().bottom + window.scrollY")
        picture = page.screenshot(full_page=True, clip={"x": 0, "y": 0, "width": WIDTH, "height": end + MARGIN})
        browser.close()
        return picture


def main() -> None:
    """Start the page, take the picture, end it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--model", default="paintings", help="run folder; without, the bundled model")
    parser.add_argument("--example", type=int, default=3, help="which of the examples, from 0 on")
    options = parser.parse_args()
    with running(["--model", options.model]) as (url, _):
        picture = Image.open(io.BytesIO(take(url, options.example))).convert("RGB")
    palette = picture.quantize(COLOURS)
    picture.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG).save(options.output, optimize=True)
    print(f"{options.output}: {picture.width} x {picture.height}, {options.output.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
