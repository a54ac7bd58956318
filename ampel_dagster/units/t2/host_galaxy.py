"""Which galaxy does an object belong to, and where in it is it?"""

from collections.abc import Mapping
from math import atan2, cos, degrees, hypot, isfinite, radians, sin, sqrt
from typing import Any, ClassVar, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from ampel_dagster.model.light_curve import LightCurve
from ampel_dagster.units.base import LightCurveUnit, Tied
from ampel_dagster.units.t2._cosmology import kpc_per_arcsec
from ampel_dagster.units.t2._position import mean_position
from ampel_dagster.units.t2.redshift_digest import redshift_at


class GalaxyCatalog(BaseModel):
    """A catalogue of galaxies, and what its columns mean; give sizes to have them ranked by light radius."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    semi_major_arcsec: str | None = Field(None, description="column of the semi-major axis in arcsec")
    axis_ratio: str | None = Field(None, description="column of minor over major axis; none: round")
    position_angle_deg: str | None = Field(None, description="column of the position angle, north over east")
    z: str | None = Field(None, description="column of the redshift")
    luminosity_distance_mpc: str | None = Field(None, description="column of the luminosity distance, instead of z")
    name: str | None = Field(None, description="column of the galaxy's name")


class _Candidate(NamedTuple):
    rank: float
    distance_arcsec: float
    catalog: str
    found: dict[str, Any]


class HostGalaxy(LightCurveUnit):
    """Choose the host among the galaxies of a `CatalogMatch`, and tell the offset from its centre.

    Galaxies with a size are ranked by the offset in units of their light radius in the direction of the object
    (directional light radius: Sullivan et al. 2006, ApJ 648, 868; Gupta et al. 2016, AJ 152, 154), those without by the
    offset in arcsec over `typical_radius_arcsec`. The result has of the best one `catalog`, `name`, `distance_arcsec`,
    `offset_kpc` (Planck 2018 cosmology), `d_dlr`, `position_angle_deg` (of the object, seen from the galaxy, north over
    east), `ra_deg`, `dec_deg`, `z`; `n_candidates`; `d_dlr_ratio` (best over second, small where the choice is clear);
    and `candidates`, the best `max_candidates` of them. Without a galaxy `n_candidates` is 0 and the rest None.
    """

    model_config = ConfigDict(allow_inf_nan=False)
    requires: ClassVar[tuple[str, ...]] = ("CatalogMatch",)

    catalogs: dict[str, GalaxyCatalog] = Field(min_length=1, description="catalogues of galaxies by their name")
    typical_radius_arcsec: float = Field(5.0, gt=0, description="light radius of galaxies whose size is not known")
    max_d_dlr: float | None = Field(None, gt=0, description="galaxies further out are no candidates; usual: 4")
    max_candidates: int = Field(3, ge=1, description="how many candidates are listed")

    def fields(self) -> dict[str, str]:
        """Numbers, names and the list."""
        numbers = ("distance_arcsec", "offset_kpc", "d_dlr", "position_angle_deg", "ra_deg", "dec_deg", "z")
        more = ("n_candidates", "d_dlr_ratio")
        return {"catalog": "text", "name": "text", "candidates": "list", **dict.fromkeys((*numbers, *more), "number")}

    def process(self, light_curve: LightCurve, tied: Tied) -> dict[str, Any]:
        """The host of one object."""
        position = mean_position(light_curve)
        matches, found = tied["CatalogMatch"], []
        for name, columns in self.catalogs.items():
            match = matches.get(name) or {}
            if position is not None and match.get("n_matches"):
                found += [self._candidate(name, columns, row, position) for row in match.get("matches", (match,))]
        ranked = sorted(c for c in found if self.max_d_dlr is None or c.rank <= self.max_d_dlr)
        if not ranked:
            empty = (
                "catalog",
                "name",
                "distance_arcsec",
                "offset_kpc",
                "d_dlr",
                "position_angle_deg",
                "ra_deg",
                "dec_deg",
            )
            return {**dict.fromkeys((*empty, "z", "d_dlr_ratio")), "n_candidates": 0, "candidates": []}
        ratio = ranked[0].rank / ranked[1].rank if len(ranked) > 1 and ranked[1].rank > 0 else None
        listed = [candidate.found for candidate in ranked[: self.max_candidates]]
        return {**ranked[0].found, "n_candidates": len(ranked), "d_dlr_ratio": ratio, "candidates": listed}

    def _candidate(
        self, catalog: str, columns: GalaxyCatalog, row: Mapping[str, Any], position: tuple[float, float]
    ) -> _Candidate:
        east, north = offset_arcsec((row["ra_deg"], row["dec_deg"]), position)
        distance_arcsec, radius_arcsec = float(row["distance_arcsec"]), self._radius(columns, row, east, north)
        d_dlr = distance_arcsec / radius_arcsec if radius_arcsec else None
        z = _z(columns, row)
        name = row.get(columns.name) if columns.name else None
        found = {
            "catalog": catalog,
            "name": str(name) if name is not None else None,
            "distance_arcsec": distance_arcsec,
            "offset_kpc": distance_arcsec * kpc_per_arcsec(z) if z else None,
            "d_dlr": d_dlr,
            "position_angle_deg": position_angle_deg(east, north),
            "ra_deg": row["ra_deg"],
            "dec_deg": row["dec_deg"],
            "z": z,
        }
        rank = d_dlr if d_dlr is not None else distance_arcsec / self.typical_radius_arcsec
        return _Candidate(rank, distance_arcsec, catalog, found)

    def _radius(self, columns: GalaxyCatalog, row: Mapping[str, Any], east: float, north: float) -> float | None:
        semi_major = _number(row.get(columns.semi_major_arcsec or ""))
        if not semi_major or semi_major <= 0:
            return None
        ratio = _number(row.get(columns.axis_ratio or "")) if columns.axis_ratio else 1.0
        angle = _number(row.get(columns.position_angle_deg or "")) if columns.position_angle_deg else 0.0
        direction = position_angle_deg(east, north)
        if ratio is None or not 0 < ratio <= 1 or angle is None or direction is None:
            return semi_major
        return light_radius_arcsec(semi_major, ratio, angle, direction)


def light_radius_arcsec(
    semi_major_arcsec: float, axis_ratio: float, galaxy_angle_deg: float, direction_deg: float
) -> float:
    """Radius of an ellipse in a direction, angles from north over east. Source: Gupta et al. 2016, eq. 3."""
    phi = radians(direction_deg - galaxy_angle_deg)
    return semi_major_arcsec * axis_ratio / sqrt((axis_ratio * cos(phi)) ** 2 + sin(phi) ** 2)


def offset_arcsec(centre: tuple[float, float], position: tuple[float, float]) -> tuple[float, float]:
    """(east, north) of a position from a centre, both (ra, dec) in degrees; for small offsets."""
    d_ra = (position[0] - centre[0] + 180) % 360 - 180
    return d_ra * cos(radians((position[1] + centre[1]) / 2)) * 3600, (position[1] - centre[1]) * 3600


def position_angle_deg(east: float, north: float) -> float | None:
    """Direction of an offset, north over east, 0 to 360; None for no offset at all."""
    return degrees(atan2(east, north)) % 360 if hypot(east, north) > 0 else None


def _z(columns: GalaxyCatalog, row: Mapping[str, Any]) -> float | None:
    z = _number(row.get(columns.z or "")) if columns.z else None
    if z is None and columns.luminosity_distance_mpc:
        distance_mpc = _number(row.get(columns.luminosity_distance_mpc))
        z = redshift_at(distance_mpc) if distance_mpc and distance_mpc > 0 else None
    return z if z is not None and z > 0 else None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and isfinite(value) else None
