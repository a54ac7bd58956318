"""Is there a star where the object is?"""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ConfigDict, Field

from ampel_dagster.model.datapoint import DataPoint
from ampel_dagster.model.stock import State
from ampel_dagster.units.base import StateUnit, Tied
from ampel_dagster.units.t2._paths import value_at


class StarVeto(StateUnit):
    """Tell whether an object is a known star, or too close to one, from packets and catalogue matches.

    Three signs, each told by itself: `point_source` (the nearest Pan-STARRS source within `ps1_radius_arcsec` has a
    star/galaxy score above `min_sgscore`; Tachibana & Miller 2018, PASP 130, 128001), `bright_gaia` (a Gaia star
    brighter than `max_gaia_mag` within `gaia_radius_arcsec`, where the packet tells), and `in_catalog` (one of
    `catalogs` of a tied CatalogMatch has a match within its radius). The result has these flags, `is_star` (any of
    them), and `sgscore`, `ps1_distance_arcsec`, `gaia_distance_arcsec`, `gaia_mag`, `catalog`,
    `catalog_distance_arcsec`.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    ps1_radius_arcsec: float = Field(1.5, ge=0, description="largest distance of the Pan-STARRS source")
    min_sgscore: float = Field(0.76, ge=0, le=1, description="score above which a source is a star")
    gaia_radius_arcsec: float = Field(20.0, ge=0, description="largest distance of a bright Gaia star")
    max_gaia_mag: float = Field(14.0, description="faintest magnitude of a bright Gaia star")
    catalogs: dict[str, float] = Field(
        default_factory=dict, description="catalogues of stars in a tied CatalogMatch, with their radius in arcsec"
    )

    @property
    def needs(self) -> tuple[str, ...]:  # type: ignore[override]  # by the configuration
        """Fields of ZTF's candidates; other surveys' packets have none of them."""
        return "sgscore1", "distpsnr1", "neargaiabright", "maggaiabright"

    @property
    def requires(self) -> tuple[str, ...]:  # type: ignore[override]  # by the configuration
        """CatalogMatch, where catalogues are named."""
        return ("CatalogMatch",) if self.catalogs else ()

    def fields(self) -> dict[str, str]:
        """Flags, numbers and the catalogue's name."""
        flags = dict.fromkeys(("is_star", "point_source", "bright_gaia", "in_catalog"), "flag")
        numbers = ("sgscore", "ps1_distance_arcsec", "gaia_distance_arcsec", "gaia_mag", "catalog_distance_arcsec")
        return {**flags, "catalog": "text", **dict.fromkeys(numbers, "number")}

    def process(self, state: State, points: Sequence[DataPoint], tied: Tied) -> dict[str, Any]:
        """The signs of one state."""
        body: Mapping[str, Any] = next(
            (p.body for p in reversed(points) if p.kind == "detection" and "sgscore1" in p.body), {}
        )
        found = {**self._point_source(body), **self._bright_gaia(body), **self._in_catalog(tied)}
        return {"is_star": found["point_source"] or found["bright_gaia"] or found["in_catalog"], **found}

    def _point_source(self, body: Mapping[str, Any]) -> dict[str, Any]:
        score, distance_arcsec = _known(body.get("sgscore1")), _known(body.get("distpsnr1"))
        near = distance_arcsec is not None and distance_arcsec <= self.ps1_radius_arcsec
        flag = bool(near and score is not None and score > self.min_sgscore)
        return {"point_source": flag, "sgscore": score, "ps1_distance_arcsec": distance_arcsec}

    def _bright_gaia(self, body: Mapping[str, Any]) -> dict[str, Any]:
        distance_arcsec, mag = _known(body.get("neargaiabright")), _known(body.get("maggaiabright"))
        near = distance_arcsec is not None and distance_arcsec <= self.gaia_radius_arcsec
        flag = bool(near and mag is not None and mag <= self.max_gaia_mag)
        return {"bright_gaia": flag, "gaia_distance_arcsec": distance_arcsec, "gaia_mag": mag}

    def _in_catalog(self, tied: Tied) -> dict[str, Any]:
        near: list[tuple[float, str]] = []
        for name, radius_arcsec in self.catalogs.items():
            distance = value_at(tied, f"CatalogMatch.{name}.distance_arcsec")
            if distance is not None and distance <= radius_arcsec:
                near.append((distance, name))
        nearest = min(near, default=None)
        distance_arcsec, catalog = nearest or (None, None)
        return {"in_catalog": bool(near), "catalog": catalog, "catalog_distance_arcsec": distance_arcsec}


def _known(value: Any) -> float | None:
    """A number of the packet, None for the -999 that stands for nothing."""
    return float(value) if isinstance(value, int | float) and value >= 0 else None
