"""Image stamps: 63 x 63 pixels of science, template and difference image, as compressed FITS files.

A real survey cuts them from its images. Here a few dozen are made and used again, which makes a packet cheap.
"""

from functools import lru_cache
from gzip import compress
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIZE = 63
#: Number of different noise patterns of each stamp.
VARIANTS = 3
_FITS_BLOCK = 2880
_PSF_SIGMA = 1.0
_SKY_NOISE = 5.0
_PEAK_MAG_16 = 2000.0
_Image = NDArray[np.float64]

Stamps = tuple[bytes, bytes, bytes]


@lru_cache(maxsize=1024)
def stamps(kind: str, mag: int, positive: bool, variant: int) -> Stamps:
    """Science, template and difference stamp of an object of a kind, at a whole magnitude."""
    rng = np.random.default_rng([len(kind), mag, int(positive), variant])
    template = _surroundings(kind)
    peak = _PEAK_MAG_16 * 10 ** (-0.4 * (mag - 16))
    change = _artefact(variant) * peak if kind == "bogus" else _gaussian(0.0, 0.0, _PSF_SIGMA) * peak
    change = change if positive else -change
    # A star that fades stays a star: it never gets darker than the sky.
    science = np.maximum(template + change, 0.0)
    noise = rng.normal(0.0, _SKY_NOISE, (3, SIZE, SIZE))
    images = (science + noise[0] + 100.0, template + noise[1] / 3 + 100.0, abs(change) + noise[2])
    return fits_gz(images[0]), fits_gz(images[1]), fits_gz(images[2])


def fits_gz(image: NDArray[Any]) -> bytes:
    """A two-dimensional image as a compressed FITS file; the same image always gives the same bytes."""
    height, width = image.shape
    cards = (
        ("SIMPLE", "T"),
        ("BITPIX", "-32"),
        ("NAXIS", "2"),
        ("NAXIS1", str(width)),
        ("NAXIS2", str(height)),
        ("BUNIT", "'DN      '"),
    )
    header = "".join(f"{name:<8}= {value:>20}".ljust(80) for name, value in cards) + "END".ljust(80)
    data = image.astype(">f4").tobytes()
    padding = b"\0" * (-len(data) % _FITS_BLOCK)
    return compress(header.ljust(_FITS_BLOCK).encode("ascii") + data + padding, mtime=0)


def _gaussian(x: float, y: float, sigma: float) -> _Image:
    """A round Gaussian of peak 1 at an offset in pixels from the centre."""
    rows, columns = np.indices((SIZE, SIZE)) - SIZE // 2
    return np.exp(-0.5 * ((rows - y) ** 2 + (columns - x) ** 2) / sigma**2)


def _surroundings(kind: str) -> _Image:
    """What was there before: a star, a galaxy beside the centre, or a faint star further off."""
    if kind == "variable":
        return _gaussian(0.0, 0.0, _PSF_SIGMA) * 4000.0
    if kind == "supernova":
        return _gaussian(2.5, -1.5, 4.0) * 300.0
    return _gaussian(11.0, 6.0, _PSF_SIGMA) * 150.0


def _artefact(variant: int) -> _Image:
    """A badly subtracted star, a cosmic ray, or a bad column."""
    if variant == 0:
        return _gaussian(-1.2, 0.0, 1.2) - _gaussian(1.2, 0.0, 1.2)
    image = np.zeros((SIZE, SIZE))
    if variant == 1:
        for step in range(-4, 5):
            image[SIZE // 2 + step // 2, SIZE // 2 + step] = 1.0
    else:
        image[:, SIZE // 2] = 1.0
    return image
