"""Photometry of one stock, in the same columns for every survey."""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
#: Columns of points by name.
Columns = dict[str, NDArray[Any]]
#: Zero point of AB magnitudes for fluxes in nJy: 2.5 log10(3631 Jy / 1 nJy).
AB_ZERO_POINT_NJY = 31.4
#: From how many errors on a forced flux shows something. Source: ZTF forced photometry service, user guide, 13.3 (SNT).
FORCED_SIGMA = 3


@dataclass(frozen=True, eq=False)
class LightCurve:
    """Points of one stock, sorted by time; every column is an array of the same length.

    Magnitudes are AB magnitudes of the difference image. A point that lacks a value has NaN there: an upper limit has
    no `mag`, a detection may have no `mag_limit`.
    """

    survey: str
    stock: int
    name: str
    id: NDArray[np.int64]
    jd: Floats
    #: 'detection', 'upper_limit' or 'forced'.
    kind: NDArray[np.str_]
    #: Band as its survey calls it: 'g', 'r', 'i' …
    band: NDArray[np.str_]
    mag: Floats
    mag_err: Floats
    #: Magnitude of a source that would just have been seen (5 sigma).
    mag_limit: Floats
    #: Difference flux, below zero where the source is fainter than in the reference.
    flux_njy: Floats
    flux_err_njy: Floats
    #: False where the source is fainter than in the reference image (ZTF: isdiffpos f or 0).
    positive: NDArray[np.bool_]
    ra_deg: Floats
    dec_deg: Floats

    @classmethod
    def from_rows(cls, survey: str, stock: int, name: str, rows: Iterable[tuple[Any, ...]]) -> Self:
        """A light curve of rows that are sorted by time, with one value for each of `COLUMNS`."""
        columns = list(zip(*rows, strict=True)) or [()] * len(COLUMNS)
        arrays = {key: np.array(column, dtype=_TYPES[key]) for key, column in zip(COLUMNS, columns, strict=True)}
        return cls(survey, stock, name, **arrays)

    @classmethod
    def from_columns(cls, survey: str, objects: Iterable[tuple[int, str, int]], columns: Columns) -> list[Self]:
        """Light curves of objects whose points stand one after the other in `columns`, each object's sorted by time.

        `objects` are (stock, name, number of points). The arrays are not copied: each light curve has its part of them.
        """
        curves, begin = [], 0
        for stock, name, number in objects:
            part = slice(begin, begin + number)
            # A frozen class sets its fields one by one in a way of its own, which takes as long as all else here.
            curve = cls.__new__(cls)
            curve.__dict__.update({key: columns[key][part] for key in COLUMNS}, survey=survey, stock=stock, name=name)
            curves.append(curve)
            begin += number
        return curves

    def __len__(self) -> int:
        return len(self.jd)

    def where(self, mask: NDArray[np.bool_]) -> "LightCurve":
        """The points for which `mask` (one boolean a point) holds."""
        return replace(self, **{name: getattr(self, name)[mask] for name in COLUMNS})

    def of_kind(self, *kinds: Literal["detection", "upper_limit", "forced"]) -> "LightCurve":
        """The points of the given kinds."""
        return self.where(np.isin(self.kind, kinds))

    @property
    def detections(self) -> "LightCurve":
        """Detections of either sign."""
        return self.of_kind("detection")

    @property
    def upper_limits(self) -> "LightCurve":
        """Exposures that did not show the object."""
        return self.of_kind("upper_limit")

    @property
    def shows_nothing(self) -> NDArray[np.bool_]:
        """Which points did not show the object and tell how deep they looked, in `mag_limit`.

        Upper limits, and forced measurements whose flux is, with either sign, within three errors of zero: some
        surveys tell of an image without the object in the one way, some in the other.
        """
        quiet = (self.kind == "forced") & (np.abs(self.flux_njy) <= FORCED_SIGMA * self.flux_err_njy)
        found: NDArray[np.bool_] = (quiet | (self.kind == "upper_limit")) & np.isfinite(self.mag_limit)
        return found

    @property
    def non_detections(self) -> "LightCurve":
        """The points that show nothing: what a unit asks when it wants the last limit before a detection."""
        return self.where(self.shows_nothing)

    @property
    def bands(self) -> list[str]:
        """Names of the bands, sorted."""
        return sorted({str(band) for band in self.band})

    def in_band(self, band: str) -> "LightCurve":
        """The points of one band."""
        return self.where(self.band == band)

    def to_pandas(self) -> pd.DataFrame:
        """One row a point, sorted by time."""
        columns: dict[str, Any] = {name: getattr(self, name) for name in COLUMNS}
        return pd.DataFrame(columns)

    def flux_table(self, *, upper_limits: bool = False) -> pd.DataFrame:
        """Measured difference fluxes as fitting codes (sncosmo) take them: one row a detection or forced point.

        Columns: `time` (Julian date, UTC), `band` (survey and band, as in ``ztfg``, ``lsstr``), `flux` and `fluxerr`,
        `zp` (31.4: fluxes are in nJy), `zpsys` (``ab``), `limit` (flux of a source that would just have been seen, at
        5 sigma; NaN where it is not known). Points without a flux or its error are left out.

        With `upper_limits` also one row for each exposure that did not show the object: flux 0 with a fifth of its
        limit as error, which is what five sigma mean where nothing else is known.
        """
        limit_njy = 10 ** ((AB_ZERO_POINT_NJY - self.mag_limit) / 2.5)
        seen = (self.kind != "upper_limit") & np.isfinite(self.flux_njy) & (self.flux_err_njy > 0)
        unseen = (self.kind == "upper_limit") & np.isfinite(limit_njy)
        if upper_limits:
            flux, error = np.where(unseen, 0.0, self.flux_njy), np.where(unseen, limit_njy / 5, self.flux_err_njy)
            whole, kept = replace(self, flux_njy=flux, flux_err_njy=error), seen | unseen
        else:
            whole, kept = self, seen
        good = whole.where(kept)
        columns: dict[str, Any] = {
            "time": good.jd,
            "band": [f"{self.survey}{band}" for band in good.band],
            "flux": good.flux_njy,
            "fluxerr": good.flux_err_njy,
            "zp": np.full(len(good), AB_ZERO_POINT_NJY),
            "zpsys": ["ab"] * len(good),
            "limit": limit_njy[kept],
        }
        return pd.DataFrame(columns)


#: Names of the array columns, in order.
COLUMNS = tuple(field.name for field in fields(LightCurve) if field.name not in ("survey", "stock", "name"))
_TYPES = {name: "f8" for name in COLUMNS} | {"id": "i8", "kind": "U11", "band": "U8", "positive": "?"}
