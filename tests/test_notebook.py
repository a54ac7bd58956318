"""Looking at objects with pandas."""

import pandas as pd
import pytest

import ampel_dagster
from ampel_dagster.model.errors import ConfigError, UserError
from ampel_dagster.testing import make_alert, make_detection, make_limit, write_archive

NAME, JD, NIGHT = "ZTF18aaaaaaa", 2458349.7, "2018-08-19"


@pytest.fixture(scope="module")
def platform(make_platform):
    """An object with two alerts, of which the second corrects a point of the first; and another object."""
    platform = make_platform({"A": {}, "B": {"t2": []}})
    history = [make_limit(jd=JD - 3, maglim=20.1), make_detection(jd=JD - 2, mag=18.9, band="g")]
    alerts = [
        make_alert(name=NAME, jd=JD, mag=18.5, history=history, cutouts=False),
        make_alert(name=NAME, jd=JD, mag=18.4, tblid=2, history=history, cutouts=False),
        make_alert(name="ZTF18aaaaaab", jd=JD, ra=10.0, tblid=3, cutouts=False),
    ]
    write_archive(platform.folder / "landing" / "night.tar.gz", alerts)
    platform.result = platform.ingest(platform.folder / "landing")
    return platform


@pytest.fixture
def base(platform):
    with platform.entered():
        base = ampel_dagster.open()
        yield base
        base.close()


class TestExplain:
    def test_stages_of_a_filter(self, base, platform):
        """Channel A has no filter: what is left is the right to see the alert."""
        (alert, *_) = platform.ztf.ledger.of_stock(base[NAME].stock.id)
        frame = base.explain(alert["_id"], "A")
        assert list(frame.columns) == ["depth", "cut", "value", "limit", "passed"]
        assert frame.iloc[0].to_list() == [0, "access", ["ZTF_PUB"], ["ZTF", "ZTF_PUB"], True]
        with pytest.raises(UserError, match="--from PATH"):
            base.explain(1, "A")


class TestTransient:
    def test_light_curve(self, base):
        frame = base[NAME].light_curve()
        assert isinstance(frame, pd.DataFrame)
        assert list(frame["kind"]) == ["upper_limit", "detection", "detection"]
        assert frame["jd"].is_monotonic_increasing
        assert list(frame["band"]) == ["r", "g", "r"]
        # Of two points of one exposure the corrected one counts.
        assert list(frame["mag"].round(4))[1:] == [18.9, 18.4]
        assert frame["mag"].isna().tolist() == [True, False, False]
        assert frame["mag_limit"][0] == pytest.approx(20.1)
        assert frame["id"].is_unique

    def test_photometry(self, base):
        light_curve = base[NAME].photometry()
        assert (light_curve.name, len(light_curve.detections), light_curve.bands) == (NAME, 2, ["g", "r"])

    def test_states(self, base):
        frame = base[NAME].states()
        assert list(frame["n_points"]) == [3, 3]
        assert list(frame["kinds"]) == [{"detection": 2, "upper_limit": 1}] * 2
        # Both alerts are of one exposure: the first one led to its own state, and to that with the corrected point.
        assert sorted(len(alerts) for alerts in frame["alerts"]) == [1, 2]
        assert frame["jd"].is_monotonic_increasing
        assert base[NAME].states("A")["channel"].tolist() == [("A",), ("A",)]
        assert base[NAME].states("C").empty
        assert frame["link"].is_unique
        assert list(frame["channel"]) == [("A", "B"), ("A", "B")]

    def test_points_of_a_state(self, base):
        curves = [base[NAME].state(link) for link in base[NAME].states()["link"]]
        assert sorted(curve.mag[1:].round(4).tolist() for curve in curves) == [[18.9, 18.4], [18.9, 18.5]]
        with pytest.raises(UserError, match="has no state 5"):
            base[NAME].state(5)

    def test_t2(self, base, platform):
        frame = base[NAME].t2()
        assert list(frame["product"].unique()) == ["summary"]
        assert list(frame["unit"].unique()) == ["LightCurveSummary"]
        assert set(frame["input"]) == set(base[NAME].states()["link"])
        assert set(frame["code"]) == {0}
        assert set(frame["run"]) == {platform.result.run_id}
        assert str(frame["ts"].dt.tz) == "UTC"
        assert [result["ndet"] for result in frame["result"]] == [2, 2]

    def test_object_without_results(self, base, platform):
        transient = base["ZTF18aaaaaab"]
        platform.ztf.results.collection.delete_many({"stock": transient.stock.id})
        frame = transient.t2()
        assert frame.empty
        assert {"product", "code", "result", "run"} <= set(frame.columns)

    def test_says_who_it_is(self, base):
        assert repr(base[NAME]) == "Transient(ZTF18aaaaaaa, ra_deg=150.00000, dec_deg=20.00000, channel=['A', 'B'])"
        assert base[NAME].name == NAME


class TestBase:
    def test_by_id(self, base):
        stock = base[NAME].stock.id
        assert base[stock].name == NAME
        # As it comes out of a data frame.
        frame = base.results("summary", "A", NIGHT)
        assert {base[found].stock.id for found in frame["stock"]} >= {stock}

    @pytest.mark.parametrize("name", ["ZTF99zzzzzzz", 987654321])
    def test_nobody(self, base, name):
        with pytest.raises(UserError, match=f"no channel has accepted an alert of {name!r} yet"):
            base[name]

    def test_all(self, base):
        assert sorted(transient.name for transient in base) == [NAME, "ZTF18aaaaaab"]

    def test_results(self, base):
        frame = base.results("summary", "A", NIGHT)
        assert set(frame["channel"]) == {"A"}
        assert "ndet" in frame.columns
        # Private to the channel, and of that night only.
        assert base.results("summary", "B", NIGHT).empty
        assert base.results("summary", "A", "2018-08-20").empty

    def test_population(self, base):
        frame = base.population("A", NIGHT)
        assert list(frame["name"]) == [NAME, "ZTF18aaaaaab"]
        assert frame["stock"].dtype == "Int64"
        assert list(frame["light_curve.n_detections"]) == [2, 1]
        first = frame.iloc[0]
        assert first["light_curve.peak_mag"] == pytest.approx(18.4)
        assert (first["summary.ndet"], first["summary.bands"]) == (2, '["g", "r"]')
        assert frame["tag"].to_list() == ["ZTF", "ZTF"]
        # Private to the channel, and one row an object over many nights.
        assert "summary.ndet" not in base.population("B", NIGHT).columns
        assert len(base.population("A", "2018-08-18", "2018-08-20")) == 2
        empty = base.population("A", "2018-08-20")
        assert (len(empty), "light_curve.peak_mag" in empty.columns) == (0, True)


class TestOpen:
    def test_folder_as_text_or_path(self, platform):
        with platform.entered():
            for folder in (platform.folder, str(platform.folder)):
                base = ampel_dagster.open(folder)
                assert base.config.folder == platform.folder
                base.close()

    def test_folder_that_is_no_instance(self, tmp_path, platform):
        with platform.entered(), pytest.raises(UserError, match="no instance there"):
            ampel_dagster.open(tmp_path / "absent")
        with platform.entered(), pytest.raises(UserError, match="no instance there"):
            ampel_dagster.open(tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_configuration_is_checked_first(self, make_instance, monkeypatch):
        """No server is started for an instance that is wrong."""
        monkeypatch.delenv("AMPEL_MONGO_URI", raising=False)
        folder = make_instance({"A": {"t2": ["absent"]}})
        with pytest.raises(ConfigError):
            ampel_dagster.open(folder)
        assert not (folder / "mongo").exists()
