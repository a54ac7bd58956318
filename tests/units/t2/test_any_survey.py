"""Units that ask for a light curve do not know the survey: each runs on real packets of all of them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ampel_dagster.instruments import INSTRUMENTS
from ampel_dagster.model.alert import Alert, Packet
from ampel_dagster.model.light_curve import LightCurve
from ampel_dagster.model.result import UnitResult
from ampel_dagster.pipeline.t2_values import checked
from ampel_dagster.sources.files import list_files, read_file
from ampel_dagster.units import t2
from ampel_dagster.units.base import LightCurveUnit

#: Where packets with some history lie, below the folder `data`.
PACKETS = {"ztf": "ztf/ZTF18acruwxq.tar.gz", "lsst": "lsst", "pgir": "other_surveys/pgir"}
CONFIG: Mapping[str, Mapping[str, Any]] = {
    "Observability": {"sites": ("palomar",)},
    "RedshiftDigest": {"sources": [{"catalog": "galaxies", "group": 1, "z": "z"}]},
}
#: Results of the units that others build upon.
TIED: Mapping[str, Mapping[str, Any]] = {
    "CatalogMatch": {"galaxies": {"z": 0.01, "distance_arcsec": 2.0, "n_matches": 1}},
    "RedshiftDigest": {"z": 0.01, "distance_arcsec": 2.0},
}
#: Units that read files which are not part of a packet: their own tests run them, with these files.
ON_FILES = {"CatalogMatch", "GalacticExtinction", "HostGalaxy", "MocMember", "OnnxClassifier", "SNFit", "XgbClassifier"}
#: All others; what a unit must be told is told here.
UNITS: list[LightCurveUnit] = [
    unit.model_validate(CONFIG.get(unit.__name__, {}))
    for unit in t2.UNITS
    if issubclass(unit, LightCurveUnit) and unit.__name__ not in ON_FILES
]


def curves(survey: str, data: Path) -> Iterator[LightCurve]:
    """Light curves of a survey's packets; Rubin's frames, whose schemas are not here, are passed over."""
    instrument = INSTRUMENTS[survey].with_schemas(None)
    for file in list_files([data / PACKETS[survey]]):
        for packet in read_file(file):
            for alert in instrument.decode(packet) if isinstance(packet, Packet) else ():
                if isinstance(alert, Alert):
                    yield instrument.light_curve(alert.stock, alert.points)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: type(unit).__name__)
@pytest.mark.parametrize("survey", list(PACKETS))
def test_a_unit_returns_something_of_every_survey(survey: str, unit: LightCurveUnit, data: Path) -> None:
    found = [curve for curve, _ in zip(curves(survey, data), range(8), strict=False)]
    assert found
    for curve in found:
        returned = unit.process(curve, TIED)
        assert isinstance(returned, Mapping | UnitResult)
        assert checked(returned).code >= 0


def test_nothing_is_left_out() -> None:
    assert set(PACKETS) == set(INSTRUMENTS)
    every = {unit.__name__ for unit in t2.UNITS if issubclass(unit, LightCurveUnit)}
    assert {type(unit).__name__ for unit in UNITS} | ON_FILES == every
