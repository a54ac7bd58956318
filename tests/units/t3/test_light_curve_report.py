"""LightCurveReport: pages that are safe, complete, and the same every time."""

import base64
import gzip
import hashlib
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from weakref import WeakSet

import numpy as np
import pytest
from astropy.io import fits
from pydantic import ValidationError

from ampel_dagster.model.datapoint import DataPoint
from ampel_dagster.model.light_curve import LightCurve
from ampel_dagster.model.result import T2Result
from ampel_dagster.model.view import Artefact, PastState, ReactionContext, TransientView
from ampel_dagster.units.t3 import LightCurveReport, TransientTable

pytest.importorskip("matplotlib")

NOW = datetime(2018, 8, 20, 3, 12, 45, tzinfo=UTC)
JD = 2458349.5
VOID = {"meta", "link", "img", "br", "wbr", "hr", "input"}
HOSTILE = "<script>alert(1)</script>\"'../../x"

#: (days after JD, kind, band, mag, limit, positive)
Row = tuple[float, str, str, float, float, bool]
SUPERNOVA: list[Row] = [
    (-12.0, "upper_limit", "r", np.nan, 20.5, True),
    (-10.0, "detection", "g", 19.5, 20.6, True),
    (-9.9, "detection", "r", 19.3, 20.6, True),
    (-3.0, "detection", "g", 17.2, 20.6, True),
    (-2.9, "detection", "r", 17.3, 20.6, True),
    (0.0, "detection", "r", 17.5, 20.6, True),
]


def light_curve(rows: Sequence[Row], name: str = "ZTF18aaa") -> LightCurve:
    days, kind, band, mag, limit, positive = zip(*rows, strict=True) if rows else ((),) * 6
    mags = np.array(mag, dtype=np.float64)
    sign = np.where(np.array(positive, dtype=np.bool_), 1.0, -1.0)
    flux = sign * 10 ** ((31.4 - mags) / 2.5)
    return LightCurve(
        survey="ztf",
        stock=1,
        name=name,
        id=np.arange(len(rows), dtype=np.int64) + 900,
        jd=JD + np.array(days, dtype=np.float64),
        kind=np.array(kind, dtype="U11"),
        band=np.array(band, dtype="U40"),
        mag=mags,
        mag_err=np.where(np.isfinite(mags), 0.05, np.nan),
        mag_limit=np.array(limit, dtype=np.float64),
        flux_njy=flux,
        flux_err_njy=np.abs(flux) * 0.05,
        positive=np.array(positive, dtype=np.bool_),
        ra_deg=np.full(len(rows), 280.6),
        dec_deg=np.full(len(rows), 2.01),
    )


def result(product: str, body: Mapping[str, Any], document: int = 77001) -> T2Result:
    return T2Result(product, "SomeUnit", "4", 0, body, document, 42, "run-t2", 88001, NOW)


def view(
    name: str = "ZTF18aaa",
    stock: int = 1,
    rows: Sequence[Row] = SUPERNOVA,
    cutouts: Mapping[str, bytes] | None = None,
    **changes: Any,
) -> TransientView:
    fields: dict[str, Any] = {
        "survey": "ztf",
        "channel": "BRIGHT",
        "night": "2018-08-19",
        "stock": stock,
        "name": name,
        "tag": ("ZTF",),
        "ra_deg": 280.6953,
        "dec_deg": 2.0103,
        "alerts": (595001, 595002),
        "source": "ztf_public_20180819.tar.gz",
        "offset": 22,
        "run": "run-t0",
        "link": 42,
        "points": (DataPoint(901, "detection", JD, 1, (), 0, {}), DataPoint(900, "upper_limit", JD, 1, (), 0, {})),
        "states": (40, 41, 42),
        "t2": {"summary": result("summary", {"ndet": 5, "rise": {"rate": -0.123456789}, "name": "<b>NGC</b>"})},
        "build_light_curve": lambda _: light_curve(rows, name),
        "read_cutouts": lambda _: cutouts or {},
    }
    return TransientView(**{**fields, **changes})


def stamp(side: int = 63) -> bytes:
    y, x = np.mgrid[:side, :side] - side // 2
    pixels = (1000 * np.exp(-(x**2 + y**2) / 8) + np.random.default_rng(1).normal(0, 5, (side, side))).astype("f4")
    pixels[0, 0] = np.nan
    buffer = io.BytesIO()
    fits.PrimaryHDU(pixels).writeto(buffer)
    return gzip.compress(buffer.getvalue(), mtime=0)


class Page(HTMLParser):
    """What a browser would make of a page: tags, attributes and text; complains about unbalanced tags."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("script", "style"):
            self.words.append(data)
            if {"td", "th"} & set(self._open):
                self.rows[-1][-1] += data

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))

    def attributes(self, tag: str, name: str) -> list[str]:
        return [attrs[name] or "" for found, attrs in self.tags if found == tag and name in attrs]


Write = Callable[..., tuple[Page, list[Page], list[Artefact]]]


@pytest.fixture
def context(tmp_path: Path) -> ReactionContext:
    return ReactionContext(
        process="daily_report",
        channel="BRIGHT",
        night="2018-08-19",
        run="run-t3",
        now=NOW,
        folder=tmp_path / "report",
        ui_url="http://127.0.0.1:3000/",
        selection={"selected": 12, "not_updated": 3},
        products=("summary", "host"),
    )


@pytest.fixture
def write(context: ReactionContext) -> Write:
    def run(views: Sequence[TransientView], **config: Any) -> tuple[Page, list[Page], list[Artefact]]:
        artefacts = list(LightCurveReport(**config).write(views, context))
        pages = [Page(artefact.path.read_text()) for artefact in artefacts]
        return pages[0], pages[1:], artefacts

    return run


def test_writes_an_index_and_a_page_an_object(write: Write, context: ReactionContext) -> None:
    index, pages, artefacts = write([view("ZTF18aaa"), view("ZTF18bbb", 2)])
    assert [str(artefact.path.relative_to(context.folder)) for artefact in artefacts] == [
        "index.html",
        "objects/ZTF18aaa.html",
        "objects/ZTF18bbb.html",
    ]
    assert [artefact.rows for artefact in artefacts] == [2, 1, 1]
    assert index.attributes("a", "href")[1:] == ["objects/ZTF18aaa.html", "objects/ZTF18bbb.html"]
    assert pages[0].attributes("a", "href")[:2] == ["../index.html", "ZTF18bbb.html"]
    assert not [path for path in context.folder.rglob("*") if path.name.endswith(".tmp")]


def test_the_index_tells_who_when_and_how_many(write: Write) -> None:
    index, _, _ = write([view()])
    for words in ("BRIGHT", "2018-08-19", "daily_report", "2018-08-20 03:12:45 UTC", "selected12", "not updated3"):
        assert words in index.text
    assert "http://127.0.0.1:3000/runs/run-t3" in index.attributes("a", "href")


def test_the_index_lists_the_newest_detection_first_with_what_is_asked_for(write: Write) -> None:
    older = [(days - 30, *rest) for days, *rest in SUPERNOVA]
    views = [view("OLD", 1, older), view("NONE", 2, SUPERNOVA[:1], t2={}), view("NEW", 3)]
    index, _, _ = write(views, columns=["summary.ndet", "summary.rise.rate"])
    head, *rows = index.rows
    assert head[-2:] == ["summary.ndet", "summary.rise.rate"]
    assert [row[0].split("280")[0] for row in rows] == ["NEW", "OLD", "NONE"]
    assert rows[0][2:8] == [
        "2018-08-0900:00 UT",
        "2018-08-1900:00 UT",
        "10.0 d",
        "5",
        "17.50 ± 0.05 r",
        "17.20 ± 0.05 g",
    ]
    assert rows[0][8:] == ["5", "-0.123457"]
    assert rows[2][3:] == ["–", "–", "0", "–", "–", "–", "–"]


def test_a_hostile_name_stays_text_and_stays_in_its_folder(write: Write, context: ReactionContext) -> None:
    views = [view(HOSTILE, 7), view("../../x", 8), view("..", 9), view("", 10), view("a/b\\c\0\ud800", 11)]
    index, pages, artefacts = write(views)
    assert {path.parent for path in (a.path for a in artefacts[1:])} == {context.folder / "objects"}
    assert len({artefact.path for artefact in artefacts}) == 6
    assert not list(context.folder.parent.glob("*.html"))
    for page in (index, *pages):
        assert len(page.attributes("script", "src")) == 0
        assert sum(tag == "script" for tag, _ in page.tags) == 1
    assert HOSTILE in index.text
    assert HOSTILE in "".join(page.text for page in pages)


def test_values_of_results_bands_sources_and_runs_are_escaped(write: Write) -> None:
    evil = "<img src=x onerror=alert(1)>"
    band = "$\\frac{<b>"
    rows = [(0.0, "detection", band, 17.0, 20.0, True), (1.0, "upper_limit", "_x", np.nan, 20.0, True)]
    views = [
        view(
            rows=rows,
            source=evil,
            run='"><img>',
            tag=(evil,),
            t2={evil: result(evil, {evil: evil, "list": [evil], "deep": {"x": [{evil: evil}]}})},
            cutouts={evil: b""},
        )
    ]
    index, (page,), _ = write(views, title=evil, columns=[f"{evil}.list"])
    assert page.attributes("img", "src") == index.attributes("img", "src") == []
    assert evil in index.text
    assert evil in page.text
    assert band in page.text


def test_names_that_a_file_system_may_confuse_get_pages_of_their_own(write: Write) -> None:
    _, pages, artefacts = write([view("abc", 1), view("ABC", 2), view("abc", 3)])
    names = [artefact.path.name.lower() for artefact in artefacts[1:]]
    assert len(set(names)) == 3
    assert len(pages) == 3


def test_the_page_shows_peak_age_limit_colour_and_position(write: Write) -> None:
    _, (page,), _ = write([view()])
    for words in (
        "18:42:46.87 +02:00:37.1",
        "280.695300 +2.010300",
        "Peak17.20 ± 0.05 g2018-08-16, 3.00 d before the latest",
        "Latest17.50 ± 0.05 r",
        "Age10.0 d",
        "Last limit before> 20.50 r2.00 d before the first detection",
        "Colour g − r-0.10 ± 0.07",
        "Detections5g 2, r 3, 1 limits",
    ):
        assert words in page.text
    assert any("simbad" in link and "280.695300" in link for link in page.attributes("a", "href"))


def test_every_number_has_its_provenance(write: Write) -> None:
    _, (page,), _ = write([view()])
    section = page.text[page.text.index("Where each number comes from") :]
    for words in (
        "595001, 595002",
        "ztf_public_20180819.tar.gz, packet 22",
        "run-t0",
        "42, 2 datapoints (1 detections, 1 upper limits)",
        "Without a result so far: host",
        "summarySomeUnit4OKthis state8800177001run-t22018-08-20 03:12:45 UTC",
        "42 this page",
        "ampel-dagster provenance 1",
    ):
        assert words in section
    links = page.attributes("a", "href")
    assert {f"http://127.0.0.1:3000/runs/{run}" for run in ("run-t0", "run-t2", "run-t3")} <= set(links)


@pytest.mark.parametrize("ui_url", ["", "javascript:alert(1)//"])
def test_without_an_address_of_the_ui_runs_are_no_links(context: ReactionContext, ui_url: str) -> None:
    plain = ReactionContext("p", "BRIGHT", "2018-08-19", "run-t3", NOW, context.folder, ui_url)
    page = Page(LightCurveReport().write([view()], plain)[1].path.read_text())
    assert "run-t0" in page.text
    assert not [link for link in page.attributes("a", "href") if "runs/" in link]


def test_results_are_flattened(write: Write) -> None:
    body = {"a": {"b": [1.0, 2.5], "c": []}, "hits": [{"z": 0.5}, {"z": None}], "jd": 2458349.7123456, "ok": True}
    _, (page,), _ = write([view(t2={"fit": result("fit", body)})])
    values = {row[0]: row[1] for row in page.rows if len(row) == 2}
    assert values == {
        "a.b": "1, 2.5",
        "a.c": "[]",
        "hits.0.z": "0.5",
        "hits.1.z": "–",
        "jd": "2458349.71235",
        "ok": "yes",
    }


def test_draws_detections_limits_negatives_and_forced_points(write: Write) -> None:
    rows: list[Row] = [
        *SUPERNOVA,
        (1.0, "detection", "g", 18.0, 20.0, False),
        (2.0, "forced", "g", 18.1, 20.0, True),
    ]
    _, (page,), _ = write([view(rows=rows)])
    ids = set(page.attributes("g", "id"))
    assert {"limits-2", "detections-1", "detections-2", "negative-1", "forced-1", "flux-2", "negative-flux-1"} <= ids
    assert "fainter than the reference" in page.text
    assert "forced photometry" in page.text


def test_without_fluxes_there_is_one_panel(write: Write) -> None:
    curve = light_curve(SUPERNOVA[:1])
    _, (page,), _ = write([view(build_light_curve=lambda _: curve)])
    ids = page.attributes("g", "id")
    assert "axes_1" in ids
    assert "axes_2" not in ids
    assert "limits-2" in ids


def test_an_object_without_points_or_results_has_a_page(write: Write) -> None:
    nowhere = float("nan")
    index, (page,), _ = write(
        [view(rows=[], t2={}, points=(), states=(), alerts=(), ra_deg=nowhere, dec_deg=nowhere, run="")]
    )
    assert "There is no photometry to draw" in page.text
    assert "No result so far" in page.text
    assert "Detectionsnone" in page.text
    assert not re.search(r"\bnan\b", index.text + page.text)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300, -1.0, 0.0])
def test_no_number_of_an_alert_breaks_the_page(write: Write, value: float) -> None:
    curve = light_curve([*SUPERNOVA, (5.0, "forced", "g", 18.0, 20.0, True)])
    for name in ("mag", "mag_err", "mag_limit", "flux_njy", "flux_err_njy", "jd"):
        column = getattr(curve, name).copy()
        column[-2:] = value
        broken = LightCurve(**{**vars(curve), name: column})
        write([view(build_light_curve=lambda _, broken=broken: broken, ra_deg=value)])


def test_an_empty_selection_gives_an_index_that_says_so(write: Write) -> None:
    index, pages, artefacts = write([])
    assert "No object was selected" in index.text
    assert pages == []
    assert artefacts[0].rows == 0


def test_pages_are_made_for_the_newest_objects_only(write: Write, context: ReactionContext) -> None:
    views = [view(f"ZTF18aa{letter}", n, [(float(n), *SUPERNOVA[1][1:])]) for n, letter in enumerate("abcd")]
    index, pages, _ = write(views, max_objects=2)
    assert len(pages) == 2
    assert sorted(path.name for path in (context.folder / "objects").iterdir()) == ["ZTF18aac.html", "ZTF18aad.html"]
    assert len(index.rows) == 5
    assert "Pages were made for the 2 objects that were detected last; the other 2 are listed" in index.text


def test_a_page_of_an_earlier_run_does_not_stay(write: Write, context: ReactionContext) -> None:
    write([view("ZTF18aaa"), view("ZTF18bbb", 2)])
    write([view("ZTF18bbb", 2)])
    assert [path.name for path in (context.folder / "objects").iterdir()] == ["ZTF18bbb.html"]


def test_cutouts_are_shown_in_order_inside_the_page(write: Write) -> None:
    stamps = {"difference": stamp(), "science": stamp(), "template": stamp(), "extra": stamp()}
    _, (page,), _ = write([view(cutouts=stamps)])
    images = page.attributes("img", "src")
    assert page.attributes("img", "alt") == [
        f"{name} cutout, 63 × 63 pixels" for name in ("science", "template", "difference", "extra")
    ]
    for image in images:
        head, data = image.split(",")
        assert head == "data:image/png;base64"
        assert base64.b64decode(data).startswith(b"\x89PNG\r\n\x1a\n")


def test_a_cutout_that_cannot_be_read_says_so(write: Write) -> None:
    _, (page,), _ = write([view(cutouts={"science": b"no image", "template": stamp()})])
    assert "not readable" in page.text
    assert len(page.attributes("img", "src")) == 1


def test_cutouts_are_not_even_read_where_they_are_not_wanted(write: Write) -> None:
    def read(_: int) -> Mapping[str, bytes]:
        raise AssertionError("must not be read")

    _, (page,), _ = write([view(read_cutouts=read)], cutouts=False)
    assert page.attributes("img", "src") == []


def test_the_same_views_give_the_same_bytes(write: Write, context: ReactionContext) -> None:
    def files() -> dict[str, bytes]:
        write([view(cutouts={"science": stamp()}), view("ZTF18bbb", 2)], columns=["summary.ndet"])
        return {path.name: path.read_bytes() for path in context.folder.rglob("*.html")}

    assert files() == files()


def test_nothing_is_loaded_from_elsewhere_and_only_our_script_may_run(write: Write) -> None:
    index, pages, artefacts = write([view(cutouts={"science": stamp()})])
    for page, artefact in zip((index, *pages), artefacts, strict=True):
        sources = [value for tag, attrs in page.tags for name, value in attrs.items() if name == "src" and tag != "a"]
        assert all((value or "").startswith("data:") for value in sources)
        assert not [tag for tag, _ in page.tags if tag in ("link", "iframe", "object", "embed")]
        html = artefact.path.read_text()
        assert "@import" not in html
        assert "url(http" not in html
        script = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(script[0].encode()).digest()).decode()
        assert f"script-src 'sha256-{digest}'" in html


def test_ten_objects_stay_small(write: Write) -> None:
    rows = [
        (float(day), "detection" if day % 3 else "upper_limit", "gr"[day % 2], 18.0, 20.0, bool(day % 5))
        for day in range(60)
    ]
    stamps = {name: stamp() for name in ("science", "template", "difference")}
    _, _, artefacts = write([view(f"ZTF18a{n}", n, rows, stamps) for n in range(10)])
    assert sum(artefact.path.stat().st_size for artefact in artefacts) < 2_000_000


def test_long_light_curves_stay_small(write: Write) -> None:
    rows = [(n / 10, "forced", "g", 18.0 + n % 7 / 10, 20.0, True) for n in range(5000)]
    _, _, artefacts = write([view(rows=rows)])
    assert artefacts[1].path.stat().st_size < 400_000


def test_images_have_names_for_screen_readers(write: Write) -> None:
    index, (page,), _ = write([view()])
    assert "5 detections in g, r, 17.2 to 19.5 mag" in index.text
    assert "Light curve of ZTF18aaa: 6 points" in page.text
    for found in (index, page):
        assert all(
            "aria-labelledby" in attrs or attrs.get("role") == "img" or attrs.get("aria-hidden") == "true"
            for tag, attrs in found.tags
            if tag == "svg"
        )


def test_a_missing_matplotlib_is_told_when_the_configuration_is_checked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    report = LightCurveReport()
    assert report.prepare(tmp_path) is report
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(ValueError, match=r"pip install 'ampel-dagster\[plot\]'"):
        report.prepare(tmp_path)


@pytest.mark.parametrize("config", [{"columns": ["nmae"]}, {"max_objects": -1}, {"colums": []}])
def test_a_wrong_configuration_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        LightCurveReport(**config)


def test_the_finder_is_the_science_stamp_with_a_bar(write: Write) -> None:
    _, (page,), _ = write([view(cutouts={"science": stamp()})])
    (label,) = [name for name in page.attributes("svg", "aria-label") if "stamp" in name]
    # 63 pixels of 1.01 arcseconds.
    assert label == "Science stamp of ZTF18aaa, its position marked, 64 arcseconds wide"
    assert "the packet does not say where north is" in page.text


def test_a_stamp_that_cannot_be_read_gives_no_finder(write: Write) -> None:
    _, (page,), _ = write([view(cutouts={"science": b"nothing"})])
    assert not page.attributes("image", "href")
    assert "not readable" in page.text


def test_limits_are_drawn_in_flux_too(write: Write) -> None:
    _, _, (_, artefact) = write([view()])
    html = artefact.path.read_text()
    assert 'id="limits-2"' in html
    assert 'id="limits-flux-2"' in html


def test_the_history_names_each_state_when_how_large_and_by_which_alert(write: Write) -> None:
    past = [PastState(40, JD, "2018-08-17", 3, (701,)), PastState(42, JD + 0.5, "2018-08-18", 7, (702, 703))]
    _, (page,), _ = write([view(read_history=lambda _: past)])
    rows = {row[1]: row for row in page.rows if len(row) == 6 and row[0].isdigit()}
    assert rows["40"] == ["1", "40", "2018-08-19 00:00:00", "2018-08-17", "3", "701"]
    assert rows["41"] == ["2", "41", "–", "–", "–", "–"]
    assert rows["42 this page"] == ["3", "42 this page", "2018-08-19 12:00:00", "2018-08-18", "7", "702, 703"]


def test_a_long_result_is_folded_and_complete(write: Write) -> None:
    _, (page,), _ = write([view(t2={"long": result("long", {f"f{n}": n for n in range(40)})})])
    assert "24 more values" in page.text
    assert [row[1] for row in page.rows if re.fullmatch("f[0-9]+", row[0])] == [str(n) for n in range(40)]


def test_nights_and_channels_have_an_index(context: ReactionContext, tmp_path: Path) -> None:
    report, process = LightCurveReport(), tmp_path / "daily_report"
    nights = [("BRIGHT", "2018-08-19"), ("BRIGHT", "2018-08-20"), ("DIM", "2018-08-19")]
    for channel, night in nights:
        mine = replace(context, channel=channel, night=night, folder=process / channel / night)
        report.write([view(), view("ZTF18aab", 2)], mine)
    update = process / "BRIGHT" / "2018-08-20" / "updates_20180820T031245.000"
    report.write([view()], replace(context, night="2018-08-20", folder=update))
    channel = Page((process / "BRIGHT" / "index.html").read_text())
    written = "2018-08-2003:12:45 UTC"
    assert channel.rows[1:] == [
        ["2018-08-20news of 2018-08-20 03:12:45 UTC", "1", written],
        ["2018-08-20whole night", "2", written],
        ["2018-08-19whole night", "2", written],
    ]
    assert "nights2 last night2018-08-20 objects in it2" in channel.text
    processes = Page((process / "index.html").read_text())
    assert processes.rows[1:] == [["BRIGHT", "2", "2018-08-202 objects"], ["DIM", "1", "2018-08-192 objects"]]
    for folder in (process, process / "BRIGHT", update, process / "DIM" / "2018-08-19"):
        links = Page((folder / "index.html").read_text()).attributes("a", "href")
        assert [link for link in links if link.endswith(".html")]
        assert all((folder / link).is_file() for link in links if link.endswith(".html"))


def test_a_night_of_which_there_is_only_news_is_linked_to_it(context: ReactionContext, tmp_path: Path) -> None:
    """A process that reports what came since its last run writes no report of the whole night."""
    night = tmp_path / "daily_report" / "BRIGHT" / "2018-08-19"
    (night.parent / "2018-08-20").mkdir(parents=True)  # of another unit, or of a report that failed
    for name, number in (("updates_20180819T080000.000", 1), ("updates_20180819T090000.000", 3)):
        views = [view(f"ZTF18aa{letter}", stock) for stock, letter in zip(range(number), "abc", strict=False)]
        LightCurveReport(max_objects=2).write(views, replace(context, folder=night / name))
    processes = Page((tmp_path / "daily_report" / "index.html").read_text())
    assert processes.rows[1:] == [["BRIGHT", "1", "2018-08-19news of 2018-08-19 09:00:00 UTC3 objects"]]
    assert "BRIGHT/2018-08-19/updates_20180819T090000.000/index.html" in processes.attributes("a", "href")
    channel = Page((night.parent / "index.html").read_text())
    assert channel.rows[1][:2] == ["2018-08-19news of 2018-08-19 09:00:00 UTC", "32 with a page"]
    assert "objects in it" not in channel.text


class Passing(Sequence[TransientView]):
    """Views that are made when they are asked for, as those of the database are; counts those alive at once."""

    def __init__(self, number: int) -> None:
        self.number, self.most, self._alive = number, 0, WeakSet[LightCurve]()

    def __len__(self) -> int:
        return self.number

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < self.number:
            raise IndexError(index)
        curve = light_curve(SUPERNOVA)
        self._alive.add(curve)
        self.most = max(self.most, len(self._alive))
        return view(f"ZTF18aa{index}", index, build_light_curve=lambda _, curve=curve: curve)


def test_views_do_not_stay_in_memory(context: ReactionContext) -> None:
    views = Passing(60)
    index, *pages = LightCurveReport(max_objects=3).write(views, context)
    assert (index.rows, len(pages)) == (60, 3)
    # One that is looked at, one that comes.
    assert views.most <= 2
    TransientTable(columns=("name", "light_curve.n_detections"), sort_by="stock").write(views, context)
    assert views.most <= 2
