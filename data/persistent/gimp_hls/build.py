"""Shift the hue, lightness and saturation of two pictures with the real GIMP, without a screen.

Needs ``gimp-console`` (Debian's and Ubuntu's package ``gimp``; 2.10.34 made what is committed)::

    python data/persistent/gimp_hls/build.py [--out FOLDER]
 ``roof.png`` is read from this folder, ``chart.png`` is computed; both, and every copy, are written to FOLDER
(by default this one). The file-name scheme is in README.md.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from dupnet.augment.gimp import copy_name

HERE = Path(__file__).parent
HUES = (-180, -90, -30, -10, -5, 5, 10, 30, 90, 180)  # degrees
PERCENTS = (-100, -50, -20, -10, -5, 5, 10, 20, 50, 100)  # of lightness, and of saturation
TOGETHER = ((10, 20, 20), (-10, -20, -20), (10, -20, 20), (5, -5, 5))  # hue, lightness, saturation at once

# gimp-drawable-hue-saturation takes: layer, range, hue, lightness, saturation, overlap.
SCRIPT = """
(let* ((image (car (gimp-file-load RUN-NONINTERACTIVE "{source}" "{source}")))
       (layer (car (gimp-image-get-active-drawable image))))
  (gimp-drawable-hue-saturation layer HUE-RANGE-ALL {hue} {lightness} {saturation} 0)
  (file-png-save2 RUN-NONINTERACTIVE image layer "{target}" "{target}" 0 9 0 0 0 0 0 0 0)
  (gimp-image-delete image))
"""


def shifts() -> list[tuple[int, int, int]]:
    """Every shift that is committed: each channel alone, then the channels together."""
    hues = [(hue, 0, 0) for hue in HUES]
    lights = [(0, percent, 0) for percent in PERCENTS]
    saturations = [(0, 0, percent) for percent in PERCENTS]
    return hues + lights + saturations + list(TOGETHER)


def chart(side: int = 64) -> npt.NDArray[np.uint8]:
    """All hues across, all lightnesses down, in four panels of saturation 1/4 to 1, above a band of greys."""
    hue = np.broadcast_to(np.linspace(0, 360, side, endpoint=False, dtype=np.float32), (side, side))
    light = np.broadcast_to(np.linspace(0, 1, side, dtype=np.float32)[:, None], (side, side))
    panels = []
    for saturation in (0.25, 0.5, 0.75, 1.0):
        hls = np.stack([hue, light, np.full_like(light, saturation)], axis=2)
        panels.append(np.rint(cv2.cvtColor(hls, cv2.COLOR_HLS2RGB) * 255))
    greys = np.broadcast_to(np.linspace(0, 255, 2 * side).round()[None, :, None], (8, 2 * side, 3))
    colours = np.vstack([np.hstack(panels[:2]), np.hstack(panels[2:])])
    return np.vstack([colours, greys]).astype(np.uint8)


def write(path: Path, bgr: npt.NDArray[np.uint8]) -> None:
    """Save pixels, in OpenCV's order of channels, and nothing else."""
    cv2.imwrite(str(path), bgr, [cv2.IMWRITE_PNG_COMPRESSION, 9])


def main() -> None:
    """Write chart, picture and copies."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE)
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    if shutil.which("gimp-console") is None:
        parser.error("gimp-console is not installed; on Debian and Ubuntu: apt-get install gimp")
    if out.resolve() != HERE.resolve():
        shutil.copyfile(HERE / "roof.png", out / "roof.png")
    write(out / "chart.png", cv2.cvtColor(chart(), cv2.COLOR_RGB2BGR))
    script = ""
    for image in ("chart", "roof"):
        for shift in shifts():
            source, target = out / f"{image}.png", out / f"{copy_name(image, *shift)}.png"
            hue, lightness, saturation = shift
            script += SCRIPT.format(
                source=source, target=target, hue=hue, lightness=lightness, saturation=saturation
            )
    # Interface, data and fonts are left out; the script comes in on standard input.
    command = ["gimp-console", "--no-interface", "--no-data", "--no-fonts", "--batch", "-"]
    subprocess.run(command, input=script + "(gimp-quit 0)\n", text=True, check=True, capture_output=True)
    made = sorted(out.glob("*_h*_l*_s*.png"))
    for path in made:
        write(path, cv2.imread(str(path)))  # GIMP adds the time and a random number to each file
    print(f"{len(made)} copies in {out}")


if __name__ == "__main__":
    main()
