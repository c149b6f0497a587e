"""Takes the screenshots of the report and the review page on data/sample into notebooks/figures."""

import io
import os
import sys
import tempfile
import threading
from pathlib import Path

from chromium import chromium, wait_for
from PIL import Image

import dupnet
from dupnet.review import open_review
from dupnet.review.page import make_server

ROOT = Path(__file__).parent.parent
FIGURES = ROOT / "notebooks" / "figures"
COLOURS = 96
DESKTOP, PHONE = (1120, 760), (390, 844)

LOADED = """
const images = [...document.images].filter((image) => image.offsetParent && image.loading !== "lazy");
return images.length > 0 && images.every((image) => image.complete && image.naturalWidth > 0);
"""
SCORED = """
const tiles = [...document.querySelectorAll("#tiles button")].slice(1);
return tiles.length > 0 && tiles.every((button) => button.textContent.includes(":"));
"""


def save(driver, name):
    """Of few colours, which is enough to see a page, at a third of the bytes."""
    image = Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB")
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(FIGURES / f"{name}.png", optimize=True)
    print(f"notebooks/figures/{name}.png")


def main(images):
    with tempfile.TemporaryDirectory() as folder:
        dupnet.find_overlaps(images, out=folder)
        page = Path(folder, "page.html")  # as seen from the repository, wherever that lies
        text = Path(folder, "report.html").read_text(encoding="utf-8")
        seen_as = os.path.relpath(images, ROOT)
        page.write_text(text.replace(str(Path(images).resolve()), seen_as), encoding="utf-8")
        with chromium(1120, 900) as driver:
            driver.get(page.as_uri())
            wait_for(driver, lambda d: d.execute_script(LOADED))
            save(driver, "report_desktop")
        with chromium(390, 1400) as driver:
            driver.get(page.as_uri())
            wait_for(driver, lambda d: d.execute_script(LOADED))
            save(driver, "report_phone")
        review = open_review(folder)
        for name, size in (("review_desktop", DESKTOP), ("review_phone", PHONE)):
            server, address = make_server(review)  # an address opens once
            threading.Thread(target=server.serve_forever, daemon=True).start()
            with chromium(*size) as driver:
                driver.get(address)
                wait_for(driver, lambda d: d.execute_script(LOADED) and d.execute_script(SCORED))
                save(driver, name)
            server.shutdown()
            server.server_close()
        review.judgements.close()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else ROOT / "data" / "sample" / "images")
