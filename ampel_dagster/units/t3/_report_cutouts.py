"""Image stamps of an alert as small PNG files inside the page."""

import io
import struct
import warnings
import zlib
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ampel_dagster.model.view import TransientView
from ampel_dagster.units.t3._report_finder import finder_svg, place_of
from ampel_dagster.units.t3._report_text import esc

T = TypeVar("T")
_ORDER = ("science", "template", "difference")
#: A stamp has some 60 pixels a side; more than this is not shown, so that no alert can fill the memory.
_MAX_BYTES = 16 * 1024 * 1024
_MAX_SIDE = 1024
_GZIP = b"\x1f\x8b"
#: Where asinh turns from linear to logarithmic, in units of the range that is shown.
_SOFTENING = 0.1


def finder_figure(data: bytes, view: TransientView) -> str:
    """The science stamp, large, with the object marked; empty where it cannot be read or is cut off."""

    def figure() -> str:
        pixels, header = _image(data)
        place = place_of(header, pixels.shape, view.ra_deg, view.dec_deg, view.survey)
        if place is None:
            return ""
        svg = finder_svg(_base64(pixels), pixels.shape, place, view.name)
        turned = "" if place.north else "; the packet does not say where north is"
        return f"<figure>{svg}<figcaption>finder: science stamp{turned}</figcaption></figure>"

    return _if_readable(figure) or ""


def _if_readable(make: Callable[[], T]) -> T | None:
    """What is made of bytes from outside: whatever astropy says of them, the page must be written."""
    try:
        return make()
    except Exception:  # noqa: BLE001  # foreign bytes
        return None


def _base64(pixels: NDArray[np.float64], *, signed: bool = False) -> str:
    return b64encode(png(stretch(pixels, signed=signed))).decode()


def cutout_figures(cutouts: Mapping[str, bytes]) -> str:
    """The stamps side by side; one that cannot be read says so in its place."""
    names = sorted(cutouts, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name))
    figures = "\n".join(_figure(name, cutouts[name]) for name in names)
    return f'<div class="cutouts">{figures}</div>'


def _figure(name: str, data: bytes) -> str:
    label = esc(name)

    def encoded() -> tuple[str, tuple[int, int]]:
        pixels = read_stamp(data)
        return _base64(pixels, signed=name == "difference"), pixels.shape

    found = _if_readable(encoded)
    if found is None:
        return f'<figure><div class="unreadable">not readable</div><figcaption>{label}</figcaption></figure>'
    image, (height, width) = found
    alt = f"{label} cutout, {width} × {height} pixels"
    return (
        f'<figure><img src="data:image/png;base64,{image}" alt="{alt}" width="{width}" height="{height}">'
        f"<figcaption>{label}</figcaption></figure>"
    )


def read_stamp(data: bytes) -> NDArray[np.float64]:
    """Pixels of the first image of a FITS file, gzipped or not. Raises whatever is wrong with it."""
    return _image(data)[0]


def _image(data: bytes) -> tuple[NDArray[np.float64], Any]:
    """The pixels and their header."""
    if data[:2] == _GZIP:
        unpacker = zlib.decompressobj(wbits=31)
        data = unpacker.decompress(data, _MAX_BYTES)
        if not unpacker.eof:
            raise ValueError("broken or too large")
    if not data.startswith(b"SIMPLE"):
        # Also keeps astropy from unpacking what was packed twice, without a limit.
        raise ValueError("no FITS file")
    with warnings.catch_warnings():
        # ZTF's headers are not quite what the standard asks for; astropy would say so three times an object.
        warnings.simplefilter("ignore")
        image, header = _first_image(data)
    if not 0 < max(image.shape) <= _MAX_SIDE or not np.isfinite(image).any():
        raise ValueError(f"nothing to see in {image.shape} pixels")
    return image, header


def _first_image(data: bytes) -> tuple[NDArray[np.float64], Any]:
    from astropy.io import fits  # here: takes a third of a second, and most reports hold no stamps

    # A compressed image may claim to be of any size; as a table it has no two dimensions and is passed over.
    with fits.open(io.BytesIO(data), memmap=False, disable_image_compression=True) as units:
        unit = next(unit for unit in units if unit.data is not None and unit.data.ndim == 2)
        return np.array(unit.data, dtype=np.float64), unit.header


def stretch(pixels: NDArray[np.float64], *, signed: bool) -> NDArray[np.uint8]:
    """Brightness from 0 to 255, asinh between percentiles.

    A difference image (`signed`) keeps its sky at middle grey: what has faded is black and not just missing.
    """
    known = pixels[np.isfinite(pixels)]
    sky = float(np.median(known))
    low, high = (float(limit) for limit in np.percentile(known, (1.0, 99.7)))
    filled = np.where(np.isfinite(pixels), pixels, sky)
    if signed:
        reach = max(high - sky, sky - low) or 1.0
        scaled = np.arcsinh(np.clip((filled - sky) / reach, -1, 1) / _SOFTENING) / np.arcsinh(1 / _SOFTENING)
        scaled = (scaled + 1) / 2
    else:
        reach = (high - low) or 1.0
        scaled = np.arcsinh(np.clip((filled - low) / reach, 0, 1) / _SOFTENING) / np.arcsinh(1 / _SOFTENING)
    grey: NDArray[np.uint8] = np.round(scaled * 255).astype(np.uint8)
    return grey


def png(grey: NDArray[np.uint8]) -> bytes:
    """An 8-bit grey PNG; row 0 is at the bottom, as FITS counts."""
    height, width = grey.shape
    rows = np.zeros((height, width + 1), dtype=np.uint8)
    rows[:, 1:] = grey[::-1]
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
