from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Any

import pytest
from astropy.coordinates import SkyCoord
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ampel_dagster.model.alert import Alert, Packet
from ampel_dagster.model.datapoint import DataPoint
from ampel_dagster.model.errors import AlertFormatError
from ampel_dagster.units.filters.decent import Cut, DecentFilter, Reject, galactic_latitude_deg

JD = 2458349.75
NAN = float("nan")

#: An alert that passes each cut of `ALL_CUTS`. Its galactic latitude is that of the north galactic pole, 90 degrees.
CANDIDATE: dict[str, Any] = {
    "isdiffpos": "t",
    "rb": 0.8,
    "drb": 0.9,
    "fwhm": 2.0,
    "elong": 1.1,
    "magdiff": -0.2,
    "nbad": 0,
    "jdstarthist": JD - 100,
    "jdendhist": JD,
    "ssdistnr": -999.0,
    "ra": 192.85948,
    "dec": 27.12825,
    "distpsnr1": 5.0,
    "sgscore1": 0.9,
    "distpsnr2": 6.0,
    "sgscore2": 0.5,
    "distpsnr3": 7.0,
    "sgscore3": 0.5,
}
ALL_CUTS: dict[str, Any] = {
    "min_ndet": 2,
    "min_tspan_days": 1.0,
    "max_tspan_days": 20.0,
    "min_rb": 0.5,
    "min_drb": 0.5,
    "max_fwhm_px": 4.5,
    "max_elong": 1.4,
    "max_magdiff": 0.4,
    "max_nbad": 1,
    "min_archive_tspan_days": 10.0,
    "max_archive_tspan_days": 500.0,
    "min_sso_dist_arcsec": 20.0,
    "min_gal_lat_deg": 14.0,
    "ps1_sgveto_rad_arcsec": 1.0,
    "ps1_sgveto_th": 0.8,
    "ps1_confusion_rad_arcsec": 3.0,
    "ps1_confusion_sg_tol": 0.1,
}


def unread() -> tuple[DataPoint, ...]:
    pytest.fail("the history was decoded")


def points_at(*ages_days: float) -> Callable[[], tuple[DataPoint, ...]]:
    """Detections so many days before the alert, the candidate first; with a limit that must count for nothing."""
    found = [DataPoint(at, "detection", JD - age, 4, ("ZTF",), 300, {}) for at, age in enumerate((0.0, *ages_days))]
    return lambda: (*found, DataPoint(-1, "upper_limit", JD - 400, 4, ("ZTF",), 300, {}))


def alert_of(candidate: dict[str, Any], read_points: Callable[[], tuple[DataPoint, ...]] = unread) -> Alert:
    return Alert(
        id=1,
        stock=2,
        name="ZTF18aagtntk",
        jd=JD,
        night="2018-08-19",
        tag=("ZTF", "ZTF_PUB"),
        rank=300,
        candidate=MappingProxyType(candidate),
        packet=Packet(b"", "a.avro", 0),
        read_points=read_points,
    )


#: One change to the alert that passes, and what it is rejected for with all cuts on; None: it still passes.
CHANGES: list[tuple[dict[str, Any], Reject | None]] = [
    ({}, None),
    ({"isdiffpos": "f"}, Reject.ONLY_POSITIVE),
    ({"isdiffpos": "0"}, Reject.ONLY_POSITIVE),
    ({"isdiffpos": False}, Reject.ONLY_POSITIVE),
    ({"isdiffpos": "1"}, None),
    ({"isdiffpos": True}, None),
    ({"rb": 0.5}, None),
    ({"rb": 0.499}, Reject.MIN_RB),
    ({"drb": 0.5}, None),
    ({"drb": 0.499}, Reject.MIN_DRB),
    ({"fwhm": 4.5}, None),
    ({"fwhm": 4.51}, Reject.MAX_FWHM_PX),
    ({"elong": 1.4}, None),
    ({"elong": 1.41}, Reject.MAX_ELONG),
    ({"magdiff": 0.4}, None),
    ({"magdiff": 0.41}, Reject.MAX_MAGDIFF),
    ({"magdiff": -0.41}, Reject.MAX_MAGDIFF),
    ({"nbad": 1}, None),
    ({"nbad": 2}, Reject.MAX_NBAD),
    # The archive's limits are exclusive, those of the alert's own history are not: AMPEL's way.
    ({"jdstarthist": JD - 10}, Reject.MIN_ARCHIVE_TSPAN_DAYS),
    ({"jdstarthist": JD - 11}, None),
    ({"jdstarthist": JD - 499}, None),
    ({"jdstarthist": JD - 500}, Reject.MAX_ARCHIVE_TSPAN_DAYS),
    ({"ssdistnr": 0.0}, Reject.MIN_SSO_DIST_ARCSEC),
    ({"ssdistnr": 19.9}, Reject.MIN_SSO_DIST_ARCSEC),
    ({"ssdistnr": 20.0}, None),
    # The galactic centre, at b = -0.05 degrees.
    ({"ra": 266.41683, "dec": -29.00781}, Reject.MIN_GAL_LAT_DEG),
    # The south galactic pole.
    ({"ra": 12.85948, "dec": -27.12825}, None),
    ({"distpsnr1": 0.9}, Reject.PS1_SGVETO),
    ({"distpsnr1": 1.0}, None),
    ({"distpsnr1": 0.9, "sgscore1": 0.8}, None),
    # No source in PS1.
    ({"distpsnr1": -999.0, "sgscore1": -999.0}, None),
    ({"distpsnr1": 1.1, "distpsnr2": 2.0, "distpsnr3": 2.9, "sgscore1": 0.45}, Reject.PS1_CONFUSION),
    ({"distpsnr1": 1.1, "distpsnr2": 2.0, "distpsnr3": 3.0, "sgscore1": 0.45}, None),
    ({"distpsnr1": 1.1, "distpsnr2": 2.0, "distpsnr3": 2.9, "sgscore1": 0.61}, None),
]


@pytest.mark.parametrize(("change", "reason"), CHANGES, ids=str)
def test_each_cut_rejects_with_its_code(change: dict[str, Any], reason: Reject | None) -> None:
    verdict = DecentFilter(**ALL_CUTS).accept(alert_of(CANDIDATE | change, points_at(5.0)))
    assert verdict == (True if reason is None else reason)
    # What is stored is a plain number.
    assert type(verdict) is (bool if reason is None else int)


@pytest.mark.parametrize(
    ("ages_days", "reason"),
    [
        ((), Reject.MIN_NDET),
        ((0.5,), Reject.MIN_TSPAN_DAYS),
        ((1.0,), None),
        ((3.0, 20.0), None),
        ((3.0, 20.5), Reject.MAX_TSPAN_DAYS),
    ],
)
def test_cuts_on_the_history(ages_days: tuple[float, ...], reason: Reject | None) -> None:
    verdict = DecentFilter(**ALL_CUTS).accept(alert_of(CANDIDATE, points_at(*ages_days)))
    assert verdict == (True if reason is None else reason)


MANDATORY = sorted(set(CANDIDATE) - {"drb", "jdstarthist", "jdendhist"})


@pytest.mark.parametrize("key", MANDATORY)
@pytest.mark.parametrize("value", ["absent", None, NAN])
def test_a_missing_field_that_a_cut_needs_rejects(key: str, value: Any) -> None:
    candidate = CANDIDATE | {key: value}
    if value == "absent":
        del candidate[key]
    assert DecentFilter(**ALL_CUTS).accept(alert_of(candidate)) == Reject.MISSING


@pytest.mark.parametrize("value", [None, NAN])
@pytest.mark.parametrize("key", ["distpsnr1", "sgscore1"])
def test_half_a_source_is_a_missing_one(key: str, value: Any) -> None:
    chosen = DecentFilter(ps1_sgveto_rad_arcsec=1.0, ps1_sgveto_th=0.8)
    assert chosen.accept(alert_of(CANDIDATE | {key: value})) == Reject.MISSING


def test_a_missing_field_that_no_cut_needs_does_not_matter() -> None:
    assert DecentFilter(min_rb=0.5).accept(alert_of({"isdiffpos": "t", "rb": 0.6})) is True


@pytest.mark.parametrize("key", ["drb", "jdstarthist", "jdendhist"])
@pytest.mark.parametrize("value", ["absent", None])
def test_old_packets_pass_without_what_they_lack(key: str, value: Any) -> None:
    candidate = CANDIDATE | {key: value}
    if value == "absent":
        del candidate[key]
    assert DecentFilter(**ALL_CUTS).accept(alert_of(candidate, points_at(5.0))) is True


def test_without_configuration_only_the_sign_counts() -> None:
    accept_all = DecentFilter(only_positive=False)
    assert accept_all.accept(alert_of({})) is True
    assert accept_all.explain(alert_of({})) == []
    assert DecentFilter().accept(alert_of({"isdiffpos": "t"})) is True
    assert DecentFilter().accept(alert_of({"isdiffpos": "f"})) == Reject.ONLY_POSITIVE


def test_the_history_is_decoded_only_where_it_decides() -> None:
    # `alert_of` fails the test when the history is asked for.
    assert DecentFilter(**ALL_CUTS).accept(alert_of(CANDIDATE | {"rb": 0.1})) == Reject.MIN_RB
    of_candidate = {key: value for key, value in ALL_CUTS.items() if key not in ("min_ndet", "min_tspan_days")}
    del of_candidate["max_tspan_days"]
    assert DecentFilter(**of_candidate).accept(alert_of(CANDIDATE)) is True
    assert DecentFilter(**of_candidate).needs == "candidate"
    assert DecentFilter(min_ndet=2).needs == "history"


def test_the_first_of_several_reasons_is_told() -> None:
    alert = alert_of(CANDIDATE | {"fwhm": 9.0, "distpsnr1": 0.1}, points_at())
    assert DecentFilter(**ALL_CUTS).accept(alert) == Reject.MAX_FWHM_PX


def test_a_history_that_cannot_be_read_is_no_verdict() -> None:
    def broken() -> tuple[DataPoint, ...]:
        raise AlertFormatError("TRUNCATED", "half a packet")

    with pytest.raises(AlertFormatError):
        DecentFilter(min_ndet=2).accept(alert_of(CANDIDATE, broken))


def test_explain_tells_what_each_cut_measured() -> None:
    candidate = CANDIDATE | {"rb": 0.25, "elong": None}
    chosen = DecentFilter(min_rb=0.5, max_elong=1.4, ps1_sgveto_rad_arcsec=1, ps1_sgveto_th=0.8, min_ndet=3)
    assert chosen.explain(alert_of(candidate, points_at(4.0))) == [
        Cut("only_positive", "t", True, True),
        Cut("min_rb", 0.25, 0.5, False),
        Cut("max_elong", None, 1.4, False),
        Cut("ps1_sgveto", (5.0, 0.9), (1.0, 0.8), True),
        Cut("min_ndet", 2, 3, False),
    ]


NUMBERS = st.one_of(st.none(), st.just(NAN), st.floats(-2, 12), st.integers(-1, 3))
CANDIDATES = st.fixed_dictionaries(
    {},
    optional={key: NUMBERS for key in CANDIDATE if key not in ("isdiffpos", "jdstarthist", "jdendhist")}
    | {
        "isdiffpos": st.sampled_from(["t", "f", "1", "0", True, False, None]),
        "jdstarthist": st.floats(JD - 600, JD) | st.none(),
        "jdendhist": st.just(JD),
    },
)
_PAIRED = [("ps1_sgveto_rad_arcsec", "ps1_sgveto_th"), ("ps1_confusion_rad_arcsec", "ps1_confusion_sg_tol")]
_SINGLE = [(key,) for key in ALL_CUTS if "ps1" not in key]
CUTS = st.sets(st.sampled_from(_SINGLE + _PAIRED))


@given(CANDIDATES, st.booleans(), CUTS, st.lists(st.floats(0, 30), max_size=3))
def test_verdict_and_explanation_agree(
    candidate: dict[str, Any], only_positive: bool, cuts: set[tuple[str, ...]], ages: Sequence[float]
) -> None:
    config = {key: ALL_CUTS[key] for keys in cuts for key in keys}
    chosen = DecentFilter(only_positive=only_positive, **config)
    alert = alert_of(candidate, points_at(*ages))
    verdict, stages = chosen.accept(alert), chosen.explain(alert)
    failed = [stage.name for stage in stages if not stage.passed]
    assert len(stages) == only_positive + len(cuts)
    if not failed:
        assert verdict is True
    else:
        assert Reject(verdict) in (Reject[failed[0].upper()], Reject.MISSING)


@given(st.floats(0, 360), st.floats(-90, 90))
def test_galactic_latitude_is_that_of_astropy(ra_deg: float, dec_deg: float) -> None:
    expected = SkyCoord(ra_deg, dec_deg, unit="deg", frame="icrs").galactic.b.deg
    assert galactic_latitude_deg(ra_deg, dec_deg) == pytest.approx(expected, abs=1e-5)


def test_galactic_latitude_at_the_pole_and_of_nothing() -> None:
    # By definition; the arcsine is flat there.
    assert galactic_latitude_deg(192.85948, 27.12825) == pytest.approx(90, abs=1e-3)
    assert galactic_latitude_deg(12.85948, -27.12825) == pytest.approx(-90, abs=1e-3)
    assert galactic_latitude_deg(NAN, 0.0) != galactic_latitude_deg(NAN, 0.0)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"ps1_sgveto_rad_arcsec": 1.0}, "ps1_sgveto_rad_arcsec and ps1_sgveto_th make one cut"),
        ({"ps1_confusion_sg_tol": 0.1}, "give both or neither"),
        ({"min_tspan_days": 3, "max_tspan_days": 2}, "min_tspan_days 3 is above max_tspan_days 2"),
        ({"min_archive_tspan_days": 3, "max_archive_tspan_days": 2}, "nothing would pass"),
        ({"min_rb": 1.1}, "less than or equal to 1"),
        ({"min_rb": NAN}, "finite"),
        ({"min_gal_lat_deg": -1}, "greater than or equal to 0"),
        ({"max_fwhm": 4.5}, "Extra inputs"),
    ],
)
def test_a_mistake_is_told_at_once(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DecentFilter(**config)


def test_codes_are_a_filters_own() -> None:
    assert all(-255 <= code <= -1 for code in DecentFilter.codes)
    assert len({int(code) for code in DecentFilter.codes}) == len(DecentFilter.codes)
