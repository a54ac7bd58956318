"""Is the object in regions of the sky?"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, StringConstraints

from ampel_dagster.model.light_curve import LightCurve
from ampel_dagster.units.base import LightCurveUnit, Tied
from ampel_dagster.units.t2._catalog import FileVersion, content_hash
from ampel_dagster.units.t2._position import mean_position, mean_positions
from ampel_dagster.units.t2._sky_region import Coverage, ProbabilityMap, read_region

#: Part of a file's name and of dotted paths.
RegionName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", max_length=80)]
_SUFFIXES = (".fits", ".fits.gz", ".json", ".moc", ".txt")
_DEFAULT_LEVEL = 0.9


class RegionSpec(BaseModel):
    """A region, and which part of it counts."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    path: str | None = Field(
        None,
        description="file, relative to the instance; none: regions/NAME.fits, .fits.gz, .json, .moc or .txt",
    )
    credible_level: float | None = Field(
        None,
        gt=0,
        le=1,
        description="of a map of probability: inside is what the region of this level holds; none: 0.9",
    )


class MocMember(LightCurveUnit):
    """Tell whether the object is in regions of the sky: footprints, fields, localisations of gravitational waves.

    A region is a MOC (multi-order coverage map, IVOA recommendation 2.0: https://www.ivoa.net/documents/MOC), as FITS,
    JSON or text, or a map of probability in HEALPix of many orders, as LIGO, Virgo and KAGRA publish them
    (``*.multiorder.fits``: https://rtd.igwn.org/projects/userguide/en/latest). The position is that of `CatalogMatch`.

    The result has, by name of the region, `inside`; of a map of probability also `credible_level`, the level of the
    smallest credible region that holds the position, and `probability_per_deg2` there. `inside` means that the level is
    at most the configured one. Without a position all are None. The hash of each file is kept in `meta`.
    """

    regions: dict[RegionName, RegionSpec] = Field(min_length=1, description="regions by name")

    _folder: Path = PrivateAttr(default=Path())

    def prepare(self, folder: Path) -> "MocMember":
        """The unit that reads its regions from `folder`, after a look at each."""
        prepared = self.model_copy()
        prepared._folder = folder
        for name, spec in self.regions.items():
            path = prepared._path(name)
            if not path.is_file():
                raise ValueError(f"region {name}: there is no {path}; put the file there, or set path")
            try:
                region = _load(FileVersion.of(path))
            except ValueError as error:
                raise ValueError(f"region {name}: {error}") from error
            if spec.credible_level is not None and isinstance(region, Coverage):
                raise ValueError(f"region {name}: {path} is a MOC, without probabilities; leave out credible_level")
        return prepared

    def data_versions(self) -> Mapping[str, str]:
        """Hash of each region's file, by name of the region."""
        return {name: content_hash(FileVersion.of(self._path(name))) for name in self.regions}

    def fields(self) -> dict[str, str]:
        """A flag for each region; numbers for maps of probability."""
        found = {f"{name}.inside": "flag" for name in self.regions}
        for name in self.regions:
            found |= {f"{name}.{key}": "number" for key in ("credible_level", "probability_per_deg2")}
        return found

    def process(self, light_curve: LightCurve, tied: Tied) -> dict[str, Any]:
        """Membership of one object, by region."""
        return self._members([mean_position(light_curve)])[0]

    def process_batch(self, points: pd.DataFrame, tied: Sequence[Tied]) -> list[dict[str, Any]]:
        """The same of many objects."""
        return self._members(mean_positions(points, len(tied)))

    def _members(self, positions: Sequence[tuple[float, float] | None]) -> list[dict[str, Any]]:
        known = np.array([position for position in positions if position is not None], dtype=np.float64).reshape(-1, 2)
        results: list[dict[str, Any]] = [{} for _ in positions]
        for name in self.regions:
            found = iter(self._of_region(name, known))
            for position, result in zip(positions, results, strict=True):
                result[name] = {"inside": None} if position is None else next(found)
        return results

    def _of_region(self, name: str, positions: np.ndarray[Any, np.dtype[np.float64]]) -> list[dict[str, Any]]:
        region = _load(FileVersion.of(self._path(name)))
        if isinstance(region, Coverage):
            return [{"inside": bool(inside)} for inside in region.contains(*positions.T)]
        limit = self.regions[name].credible_level or _DEFAULT_LEVEL
        levels, densities = region.look_up(*positions.T)
        return [
            {"inside": level <= limit, "credible_level": level, "probability_per_deg2": density}
            for level, density in zip(levels.tolist(), densities.tolist(), strict=True)
        ]

    def _path(self, name: str) -> Path:
        """The region's file; where no name was given and none is there, the first that it could have."""
        given = self.regions[name].path
        if given is not None:
            return self._folder / Path(given).expanduser()
        usual = [self._folder / "regions" / f"{name}{suffix}" for suffix in _SUFFIXES]
        return next((path for path in usual if path.exists()), usual[0])


@lru_cache(maxsize=32)
def _load(version: FileVersion) -> Coverage | ProbabilityMap:
    """A region, read once by a process as long as its file does not change."""
    return read_region(Path(version.path))
