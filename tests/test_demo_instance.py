"""The demo instance: its files are valid, and its channels find what they are made for."""

from collections import Counter, defaultdict

import pytest

from ampel_dagster.config.instance import packaged_demo
from ampel_dagster.config.load import Config, load
from ampel_dagster.model.alert import Alert, Packet
from ampel_dagster.testing import survey_of

NIGHT = "2018-04-03"


@pytest.fixture(scope="module")
def config() -> Config:
    return load(packaged_demo())


def test_files_are_valid(config: Config) -> None:
    assert set(config.channels) == {"BRIGHT_TRANSIENTS", "VARIABLES", "EVERYTHING"}
    assert set(config.products) == {"light_curve_summary", "near_galaxies"}
    assert set(config.processes) == {"daily_table", "report"}
    assert config.stream("ztf").archive.file_name(NIGHT) == "ztf_public_20180403.tar.gz"  # type: ignore[union-attr]
    assert config.processes["report"].trigger.on == "t2"  # type: ignore[union-attr]


def test_everything_is_in_use(config: Config) -> None:
    asked_for = {product.name for product in config.products_of("ztf")}
    assert asked_for == set(config.products)
    assert all(config.channels_of(process) for process in config.processes)


def test_channels_find_what_they_are_made_for(config: Config) -> None:
    instrument = config.instrument("ztf")
    accepted: dict[str, Counter[str]] = defaultdict(Counter)
    there: Counter[str] = Counter()
    for simulated in survey_of(200).night(NIGHT):
        (alert,) = instrument.decode(Packet(simulated.to_bytes(), "test", 0))
        assert isinstance(alert, Alert)
        there[simulated.kind] += 1
        for rules in config.rules("ztf"):
            verdict = True if rules.filter is None else rules.filter.accept(alert)
            accepted[rules.channel][simulated.kind] += verdict is True
    assert accepted["EVERYTHING"] == there
    assert accepted["VARIABLES"]["variable"] > 0.9 * there["variable"]
    assert accepted["BRIGHT_TRANSIENTS"]["supernova"] > 0.5 * there["supernova"]
    for channel, kind in (("VARIABLES", "variable"), ("BRIGHT_TRANSIENTS", "supernova")):
        assert +accepted[channel] == {kind: accepted[channel][kind]}
