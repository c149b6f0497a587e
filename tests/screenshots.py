"""Takes the screenshots of the report and the review page on data/sample into notebooks/figures."""

import io
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
    """Of 160 colours, which is enough to see a page, at a third of the bytes."""
    image = Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB")
    image.quantize(160, dither=Image.Dither.NONE).save(FIGURES / f"{name}.png", optimize=True)
    print(f"notebooks/figures/{name}.png")


def main(images):
    with tempfile.TemporaryDirectory() as folder:
        dupnet.find_overlaps(images, out=folder)
        with chromium(1120, 1400) as driver:
            driver.get(Path(folder, "report.html").as_uri())
            wait_for(driver, lambda d: d.execute_script(LOADED))
            save(driver, "report_desktop")
        with chromium(390, 1400) as driver:
            driver.get(Path(folder, "report.html").as_uri())
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
