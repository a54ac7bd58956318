import tarfile
from pathlib import Path
from typing import Any

import pytest

from ampel_dagster.instruments.ztf import ZTF
from ampel_dagster.model.alert import Alert, Packet
from ampel_dagster.units.filters.decent import DecentFilter

DATA = Path(__file__).resolve().parents[4] / "shared/data/ztf"

#: What AMPEL's DecentFilter (the `process` of ampel-ztf 0.10.2, with gaia_rs=0, without a catalogue server, all cuts
#: that are not named so wide that they pass) accepts of the 41 alerts below, by the letters of their names: run once
#: and copied, with our names for its parameters.
AMPEL: list[tuple[dict[str, Any], str]] = [
    (
        {},
        "aaajnnn aagtntk aagvndv aakyuii aaxdjuj aaxkqbx abcogyv abeclfl abfaepq abginyq abhxicf abjapcg abjjncz "
        "abjjnda abjjnhn abjjnhp abjjnqk abjjnqo abmqeoz abnbmzc abnvuas abnvxif abnwopm abyfpze",
    ),
    ({"min_ndet": 5}, "aagvndv aakyuii aaxdjuj aaxkqbx abcogyv abeclfl abfaepq abginyq abjapcg abyfpze"),
    ({"min_tspan_days": 20.0}, "aagtntk aagvndv aakyuii aaxdjuj aaxkqbx abeclfl abfaepq abhxicf abjapcg abyfpze"),
    (
        {"max_tspan_days": 29.9},
        "aaajnnn aagtntk aakyuii aaxdjuj abcogyv abginyq abhxicf abjjncz abjjnda abjjnhn abjjnhp abjjnqk abjjnqo "
        "abmqeoz abnbmzc abnvuas abnvxif abnwopm",
    ),
    (
        {"min_rb": 0.6},
        "aaajnnn aagtntk abcogyv abeclfl abfaepq abhxicf abjapcg abjjncz abjjnda abjjnqk abjjnqo abmqeoz",
    ),
    (
        {"min_drb": 0.995},
        "aagtntk aagvndv aakyuii aaxdjuj aaxkqbx abcogyv abeclfl abfaepq abginyq abhxicf abjapcg abjjncz abjjnda "
        "abjjnqk abjjnqo abmqeoz abnbmzc abnvuas abnvxif abnwopm abyfpze",
    ),
    (
        {"max_fwhm_px": 2.5},
        "aakyuii aaxdjuj aaxkqbx abcogyv abfaepq abginyq abjapcg abmqeoz abnbmzc abnvuas abnvxif abyfpze",
    ),
    (
        {"max_elong": 1.15},
        "aagvndv aaxdjuj abeclfl abfaepq abhxicf abjjncz abjjnda abjjnhn abjjnqk abjjnqo abmqeoz abyfpze",
    ),
    (
        {"max_magdiff": 0.15},
        "aaajnnn aagtntk aagvndv aaxkqbx abeclfl abfaepq abginyq abhxicf abjapcg abjjncz abjjnda abjjnhn abjjnhp "
        "abjjnqk abjjnqo abmqeoz abnwopm abyfpze",
    ),
    (
        {"min_archive_tspan_days": 40.0},
        "aaajnnn aagtntk aagvndv aakyuii aaxdjuj aaxkqbx abcogyv abeclfl abfaepq abyfpze",
    ),
    (
        {"max_archive_tspan_days": 100.0},
        "aaxdjuj aaxkqbx abcogyv abeclfl abfaepq abginyq abhxicf abjapcg abjjncz abjjnda abjjnhn abjjnhp abjjnqk "
        "abjjnqo abmqeoz abnbmzc abnvuas abnvxif abnwopm abyfpze",
    ),
    (
        {"min_archive_tspan_days": 0.0},
        "aaajnnn aagtntk aagvndv aakyuii aaxdjuj aaxkqbx abcogyv abeclfl abfaepq abginyq abhxicf abjapcg abmqeoz "
        "abnbmzc abyfpze",
    ),
    (
        {"min_sso_dist_arcsec": 1.0},
        "aaajnnn aagtntk aagvndv aakyuii aaxdjuj aaxkqbx abcogyv abeclfl abfaepq abginyq abhxicf abjapcg abjjnhp "
        "abmqeoz abnbmzc abnvuas abnvxif abnwopm abyfpze",
    ),
    (
        {"min_gal_lat_deg": 14.0},
        "aaajnnn aagtntk aagvndv aakyuii abhxicf abjjncz abjjnda abjjnhn abjjnhp abjjnqk abjjnqo abnvxif abnwopm "
        "abyfpze",
    ),
    (
        {"ps1_sgveto_rad_arcsec": 1.0, "ps1_sgveto_th": 0.8},
        "aaxdjuj abeclfl abginyq abjapcg abjjncz abjjnda abjjnhn abjjnhp abjjnqk abjjnqo abnvxif abnwopm abyfpze",
    ),
    (
        {"ps1_confusion_rad_arcsec": 10.0, "ps1_confusion_sg_tol": 0.45},
        "aaajnnn aagtntk aagvndv aakyuii aaxkqbx abfaepq abhxicf abjjncz abjjnda abjjnhn abjjnhp abjjnqk abjjnqo "
        "abmqeoz abnvuas abnvxif abnwopm abyfpze",
    ),
    (
        {"min_ndet": 2, "max_tspan_days": 50.0, "min_rb": 0.3},
        "aagtntk aagvndv aakyuii aaxdjuj aaxkqbx abcogyv abeclfl abfaepq abginyq abhxicf abjapcg abmqeoz abyfpze",
    ),
    (
        {
            "min_ndet": 2,
            "min_tspan_days": 1.0,
            "max_tspan_days": 50.0,
            "min_rb": 0.5,
            "min_drb": 0.9,
            "max_fwhm_px": 5.5,
            "max_elong": 1.4,
            "max_magdiff": 1.0,
            "min_archive_tspan_days": 10.0,
            "max_archive_tspan_days": 1e5,
            "min_sso_dist_arcsec": 20.0,
            "min_gal_lat_deg": 4.0,
            "ps1_sgveto_rad_arcsec": 0.3,
            "ps1_sgveto_th": 0.9,
            "ps1_confusion_rad_arcsec": 3.0,
            "ps1_confusion_sg_tol": 0.1,
        },
        "aagvndv abeclfl abyfpze",
    ),
]


@pytest.fixture(scope="module")
def packets() -> list[bytes]:
    """30 alerts of 2018, 8 of 2023 (schema 4, six of them asteroids), 3 of schema 3.2 and 3.3."""
    tar = DATA / "ztf_public_20180819_mod1000.tar.gz"
    if not tar.exists():
        pytest.skip(f"the real packets are not here: {DATA}")
    with tarfile.open(tar) as archive:
        files = [archive.extractfile(member) for member in archive]
        found = [file.read() for file in files if file]
    single = [path for path in sorted((DATA / "single").glob("v3.*.avro")) if path.name != "v3.2_ztf_sample.avro"]
    return found + [path.read_bytes() for path in [*sorted((DATA / "fp_v4").glob("*.avro")), *single]]


@pytest.mark.parametrize(
    ("config", "accepted"), AMPEL, ids=lambda value: "+".join(value) if isinstance(value, dict) else ""
)
def test_accepts_what_ampel_accepts(packets: list[bytes], config: dict[str, Any], accepted: str) -> None:
    chosen, ztf = DecentFilter(**config), ZTF()
    alerts = [alert for data in packets for alert in ztf.decode(Packet(data, "a.avro", 0))]
    assert len(alerts) == 41
    found = [alert.name[5:] for alert in alerts if isinstance(alert, Alert) and chosen.accept(alert) is True]
    assert sorted(found) == accepted.split()
