"""Values of several results in one row."""

from ampel_dagster.units.t2.stack import Stack
from tests.units.t2.points import STATE


def test_row_of_several_results() -> None:
    unit = Stack(columns={"z": "RedshiftDigest.z", "host": "hosts.name", "deep": "hosts.a.b"})
    assert (unit.needs, unit.requires) == ((), ("RedshiftDigest",))
    tied = {"RedshiftDigest": {"z": 0.1}, "hosts": {"name": "M 1", "a": {"b": 2}}}
    assert unit.process(STATE, [], tied) == {"z": 0.1, "host": "M 1", "deep": 2, "complete": True}
    assert unit.process(STATE, [], {"RedshiftDigest": {"z": None}, "hosts": {}})["complete"] is False
