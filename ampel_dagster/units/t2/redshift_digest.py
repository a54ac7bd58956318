"""The best redshift that catalogues have for an object."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import isfinite
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ampel_dagster.model.light_curve import LightCurve
from ampel_dagster.units.base import LightCurveUnit, Tied

#: Redshifts that a distance is turned into: beyond, a galaxy is no neighbour of a transient that anybody sees.
_LARGEST_Z = 8.0
Column = Annotated[str, Field(min_length=1)]


class RedshiftSource(BaseModel):
    """A catalogue of `CatalogMatch`, and what of it is a redshift."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    catalog: str = Field(description="name of the catalogue in the CatalogMatch product")
    group: int = Field(ge=1, description="quality: 1 is the best")
    z: Column | None = Field(None, description="column of the redshift")
    z_err: Column | None = Field(None, description="column of its error")
    luminosity_distance_mpc: Column | None = Field(
        None, description="column of the luminosity distance in Mpc, instead of z (Planck 2018 cosmology)"
    )
    max_distance_arcsec: float | None = Field(None, gt=0, description="largest distance of a match; none: any")
    precision: float = Field(0.0, ge=0, description="error where the catalogue tells none")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.z is None) == (self.luminosity_distance_mpc is None):
            raise ValueError("give z or luminosity_distance_mpc: one of both, and one only")
        return self


class _Found(NamedTuple):
    group: int
    distance_arcsec: float
    z: float
    z_err: float
    catalog: str


class RedshiftDigest(LightCurveUnit):
    """Choose the best redshift among those of catalogue matches.

    Sources are sorted into quality groups (AMPEL's `T2DigestRedshifts` has seven: spectroscopic redshifts close by are
    in the first, photometric ones far away in the last). The redshift is that of the best group that has any: of the
    nearest match, or the mean of the group's matches, weighted with their errors where all have one.

    The result has `z`, `z_err`, `group`, `catalog`, `distance_arcsec` (of the nearest match of the group),
    `n_in_group`, `z_spread` (largest minus smallest redshift of the group), and `groups`: by number of the group the
    same of each group. Without any redshift all are None, and `n_in_group` is 0.
    """

    requires: ClassVar[tuple[str, ...]] = ("CatalogMatch",)

    sources: tuple[RedshiftSource, ...] = Field(min_length=1, description="catalogues with redshifts, in any order")
    choose: Literal["nearest", "mean"] = Field("nearest", description="which redshift of the best group")
    min_z: float = Field(0.0, description="smaller ones are stars, or wrong")

    def fields(self) -> dict[str, str]:
        """Numbers, and the name of the catalogue."""
        numbers = ("z", "z_err", "group", "distance_arcsec", "n_in_group", "z_spread")
        return {"catalog": "text", "groups.*": "", **dict.fromkeys(numbers, "number")}

    def process(self, light_curve: LightCurve, tied: Tied) -> dict[str, Any]:
        """The digest of one object."""
        matches = tied["CatalogMatch"]
        found = sorted(one for source in self.sources for one in self._redshifts(source, matches.get(source.catalog)))
        by_group: dict[int, list[_Found]] = {}
        for one in found:
            by_group.setdefault(one.group, []).append(one)
        digests = {group: self._digest(members) for group, members in by_group.items()}
        if not digests:
            empty = dict.fromkeys(("z", "z_err", "group", "catalog", "distance_arcsec", "z_spread"))
            return {**empty, "n_in_group": 0, "groups": {}}
        best = min(digests)
        return {**digests[best], "groups": {str(group): digest for group, digest in digests.items()}}

    def _redshifts(self, source: RedshiftSource, match: Mapping[str, Any] | None) -> Sequence[_Found]:
        """Redshifts of one catalogue: of all its matches where these are listed, else of the nearest."""
        if not match or not match.get("n_matches"):
            return ()
        found = []
        for row in match.get("matches", (match,)):
            distance_arcsec = float(row["distance_arcsec"])
            if source.max_distance_arcsec is not None and distance_arcsec > source.max_distance_arcsec:
                continue
            z = _redshift(source, row)
            if z is not None and z > self.min_z:
                z_err = _number(row.get(source.z_err)) if source.z_err else None
                error = source.precision if z_err is None else z_err
                found.append(_Found(source.group, distance_arcsec, z, error, source.catalog))
        return found

    def _digest(self, members: Sequence[_Found]) -> dict[str, Any]:
        nearest = members[0]
        z, z_err = nearest.z, nearest.z_err
        redshifts = np.array([one.z for one in members])
        if self.choose == "mean":
            errors = np.array([one.z_err for one in members])
            weights = errors**-2.0 if (errors > 0).all() else np.ones(len(members))
            z = float(np.average(redshifts, weights=weights))
            z_err = float(weights.sum() ** -0.5) if (errors > 0).all() else float(redshifts.std())
        return {
            "z": z,
            "z_err": z_err or None,
            "group": nearest.group,
            "catalog": nearest.catalog,
            "distance_arcsec": nearest.distance_arcsec,
            "n_in_group": len(members),
            "z_spread": float(np.ptp(redshifts)),
        }


def _redshift(source: RedshiftSource, row: Mapping[str, Any]) -> float | None:
    if source.z is not None:
        return _number(row.get(source.z))
    distance_mpc = _number(row.get(source.luminosity_distance_mpc or ""))
    return None if distance_mpc is None or distance_mpc <= 0 else redshift_at(distance_mpc)


def _number(value: Any) -> float | None:
    """A catalogue's entry as a number; None where there is none."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if isfinite(number) else None


def redshift_at(luminosity_distance_mpc: float) -> float | None:
    """Redshift of a luminosity distance in the Planck 2018 cosmology (astropy's), None beyond redshift 8."""
    distances_mpc, redshifts = _grid()
    if luminosity_distance_mpc > distances_mpc[-1]:
        return None
    return float(np.interp(luminosity_distance_mpc, distances_mpc, redshifts))


@lru_cache(maxsize=1)
def _grid() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Luminosity distances in Mpc over redshifts, close enough that a straight line between two is right to 1e-6."""
    from astropy.cosmology import Planck18

    redshifts = np.concatenate([np.linspace(0, 0.2, 2001), np.geomspace(0.2, _LARGEST_Z, 4000)[1:]])
    distances_mpc: NDArray[np.float64] = Planck18.luminosity_distance(redshifts).value
    return distances_mpc, redshifts
