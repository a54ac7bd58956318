"""``complete``: objects that a channel took late, on an instance with an archive."""

import pytest

from ampel_dagster.storage.store import Store
from ampel_dagster.testing import make_alert, write_archive
from tests.commands.test_filters import JD, Shell, brighter

NIGHTS = ("2018-08-17", "2018-08-18", "2018-08-19")


@pytest.fixture
def shell(make_instance, mongo_uri):
    folder = make_instance({"RISING": {"filter": brighter(18), "history_days": 10}, "BRIGHT": {"filter": brighter(18)}})
    for day, night in enumerate(NIGHTS):
        rising = make_alert(name="ZTF18aaaaaaa", jd=JD - 2 + day, mag=20 - 1.5 * day, tblid=1, cutouts=False)
        faint = make_alert(name="ZTF18aaaaaab", jd=JD - 2 + day, mag=20, tblid=2, cutouts=False)
        write_archive(folder / "archive" / f"ztf_public_{night.replace('-', '')}.tar.gz", [rising, faint])
    shell = Shell(folder, mongo_uri)
    yield shell
    store = Store.open(mongo_uri, shell.env["AMPEL_DB"])
    store.drop()
    store.close()


def stored(shell):
    store = Store.open(shell.env["AMPEL_MONGO_URI"], shell.env["AMPEL_DB"])
    found = list(store.survey("ztf").ledger.alert.find(sort=[("jd", 1)]))
    store.close()
    return found


def test_earlier_alerts_come_from_the_archive(shell):
    shell.ok("ingest", *sorted((shell.folder / "archive").iterdir()))
    assert "took no object of ztf" in shell.ok("complete")
    told = shell.ok("complete", "--nights", NIGHTS[-1])
    assert "ztf_public_20180817.tar.gz" in told
    alerts = stored(shell)
    assert [(d["night"], d["channel"]) for d in alerts] == [
        (NIGHTS[0], ["RISING"]),
        (NIGHTS[1], ["RISING"]),
        (NIGHTS[2], ["BRIGHT", "RISING"]),
    ]
    assert [d["verdict"]["RISING"].get("completed", False) for d in alerts] == [True, True, False]
    # A second time nothing is new; a replay of all nights, too.
    shell.ok("complete", "--nights", NIGHTS[-1])
    shell.ok("ingest", *sorted((shell.folder / "archive").iterdir()))
    assert stored(shell) == alerts


def test_what_to_do(shell):
    assert "has no history_days; add history_days: 30" in shell.error("complete", "--channel", "BRIGHT")
    assert "did you mean RISING?" in shell.error("complete", "--channel", "RISIGN")
    assert "write YYYY-MM-DD" in shell.error("complete", "--nights", "yesterday")
