"""Units that ask for a light curve do not know the survey: each runs on real packets of all of them."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from pydantic import ValidationError

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
UNITS = [unit for unit in t2.UNITS if issubclass(unit, LightCurveUnit)]


def curves(survey: str, data: Path) -> Iterator[LightCurve]:
    """Light curves of a survey's packets; Rubin's frames, whose schemas are not here, are passed over."""
    instrument = INSTRUMENTS[survey].with_schemas(None)
    for file in list_files([data / PACKETS[survey]]):
        for packet in read_file(file):
            for alert in instrument.decode(packet) if isinstance(packet, Packet) else ():
                if isinstance(alert, Alert):
                    yield instrument.light_curve(alert.stock, alert.points)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.__name__)
@pytest.mark.parametrize("survey", list(PACKETS))
def test_a_unit_returns_something_of_every_survey(
    survey: str, unit: type[LightCurveUnit], data: Path, tmp_path: Path
) -> None:
    assert set(PACKETS) == set(INSTRUMENTS)
    try:
        prepared = unit().prepare(tmp_path)
    except (ValidationError, ValueError) as error:
        pytest.skip(f"is nothing without a configuration: {str(error).splitlines()[0]}")
    assert isinstance(prepared, LightCurveUnit)
    if prepared.requires:
        pytest.skip(f"builds upon results of {', '.join(prepared.requires)}")
    found = [curve for curve, _ in zip(curves(survey, data), range(8), strict=False)]
    assert found
    for curve in found:
        returned = prepared.process(curve, {})
        assert isinstance(returned, Mapping | UnitResult)
        assert checked(returned).code >= 0
