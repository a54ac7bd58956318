"""Report candidates to the Transient Name Server."""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from pydantic import Field

from ampel_dagster.model.errors import RefusedError, SendError
from ampel_dagster.model.light_curve import LightCurve
from ampel_dagster.model.view import ReactionContext, TransientView
from ampel_dagster.units.base import BulkPublisher
from ampel_dagster.units.t3._http import post
from ampel_dagster.units.t3._message import plain
from ampel_dagster.units.t3._times import iso_of_jd

_SANDBOX = "https://sandbox.wis-tns.org/api"
#: The server's numbers of filters, instrument and unit (AB magnitudes): https://www.wis-tns.org/api/values
_FILTERS = {("ztf", "g"): 110, ("ztf", "r"): 111, ("ztf", "i"): 112}
_INSTRUMENTS = {"ztf": 196}
_AB_MAG = 1
#: Messages of a reply for a report that made an object, and for one of an object that is there.
_MADE, _THERE = "100", "101"


class TnsReport(BulkPublisher):
    """Report objects as AT candidates in one bulk report, and fetch what the server says about each.

    By the public description of the API (https://www.wis-tns.org/content/tns-getting-started): the report goes to
    `set/bulk-report`, the answer is asked for at `get/bulk-report-reply`. An object that is on the server already
    (within `radius_arcsec`) is not reported; the answer has its name. The first detection and the last limit before it
    are sent, and the `max_points` newest detections. The sandbox is the default: set `api_url` for the real server.
    """

    api_url: str = Field(_SANDBOX, pattern=r"^https?://", description="address of the API; default: the sandbox")
    api_key: str = Field("TNS_API_KEY", description="name of the secret that holds the key")
    bot_id: int = Field(description="id of the bot")
    bot_name: str = Field(min_length=1, description="name of the bot")
    reporter: str = Field(min_length=1, description="names and affiliations of who reports")
    reporting_group_id: int = Field(description="the group's number on the server")
    data_source_id: int = Field(description="number of the survey as data source")
    at_type: int = Field(1, description="kind of the candidate; 1: possible supernova")
    redshift: str | None = Field(None, description="path of the host's redshift, as in redshifts.z")
    radius_arcsec: float = Field(3.0, gt=0, description="distance within which an object counts as there")
    max_points: int = Field(5, ge=0, description="newest detections that are sent besides the first")
    polls: int = Field(10, ge=1, description="how often the answer is asked for")
    poll_pause_s: float = Field(3.0, ge=0, description="pause before each time")

    @property
    def paths(self) -> Sequence[str]:
        """The redshift."""
        return (self.redshift,) if self.redshift else ()

    def send_many(self, views: Sequence[TransientView], context: ReactionContext) -> Mapping[int, str | SendError]:
        """Report those that are not there yet."""
        answers: dict[int, str | SendError] = {}
        new: list[TransientView] = []
        for view in views:
            name = self._known(view, context)
            if name is not None:
                answers[view.stock] = f"is there: {name}"
            elif not len(_first(view.light_curve)):
                answers[view.stock] = RefusedError("there is no positive detection to report")
            else:
                new.append(view)
        if new:
            answers |= self._report(new, context)
        return answers

    def preview(self, views: Sequence[TransientView], context: ReactionContext) -> str:
        """The report."""
        return json.dumps(self.report([view for view in views if len(_first(view.light_curve))]), indent=2)

    def report(self, views: Sequence[TransientView]) -> dict[str, Any]:
        """The bulk report as JSON."""
        return {"at_report": {str(n): self._candidate(view) for n, view in enumerate(views)}}

    def _candidate(self, view: TransientView) -> dict[str, Any]:
        curve = view.light_curve
        seen = curve.detections.where(curve.detections.positive)
        first = _first(curve)
        newest = seen.where(seen.jd >= (seen.jd[-self.max_points] if 0 < self.max_points < len(seen) else 0))
        points = [first, *([newest] if self.max_points else [])]
        rows = {row["obsdate"]: row for part in points for row in _photometry(part)}
        found: dict[str, Any] = {
            "ra": {"value": view.ra_deg, "error": 0.1, "units": "arcsec"},
            "dec": {"value": view.dec_deg, "error": 0.1, "units": "arcsec"},
            "reporting_group_id": self.reporting_group_id,
            "discovery_data_source_id": self.data_source_id,
            "reporter": self.reporter,
            "discovery_datetime": _date(float(first.jd[0])),
            "at_type": self.at_type,
            "internal_name": view.name,
            "non_detection": _limit(curve, float(first.jd[0])),
            "photometry": {"photometry_group": {str(n): row for n, row in enumerate(rows.values())}},
        }
        z = view.value(self.redshift) if self.redshift else None
        return found | ({"host_redshift": plain(z)} if isinstance(z, int | float) and z > 0 else {})

    def _known(self, view: TransientView, context: ReactionContext) -> str | None:
        """Name of an object that the server has at the position."""
        where = {"ra": view.ra_deg, "dec": view.dec_deg, "radius": self.radius_arcsec, "units": "arcsec"}
        found = self._ask("get/search", where, context)
        names = found if isinstance(found, list) else found.get("reply", [])
        return f"{names[0].get('prefix', '')} {names[0]['objname']}".strip() if names else None

    def _report(self, views: Sequence[TransientView], context: ReactionContext) -> dict[int, str | SendError]:
        taken = self._ask("set/bulk-report", self.report(views), context)
        number = taken["report_id"]
        feedback: Sequence[Mapping[str, Any]] = ()
        for _ in range(self.polls):
            time.sleep(self.poll_pause_s)
            reply = self._ask("get/bulk-report-reply", {"report_id": number}, context, key="report_id")
            feedback = reply.get("feedback", {}).get("at_report", ()) if isinstance(reply, Mapping) else ()
            if feedback:
                break
        # Of those that the server says nothing about, it is not known.
        return {view.stock: _said(said, number) for view, said in zip(views, feedback, strict=False)}

    def _ask(self, method: str, data: Any, context: ReactionContext, key: str = "data") -> Any:
        """What the server answers; `data` of its JSON."""
        marker = json.dumps({"tns_id": self.bot_id, "type": "bot", "name": self.bot_name})
        content = data["report_id"] if key == "report_id" else json.dumps(data)
        form = urlencode({"api_key": context.secret(self.api_key), key: content}).encode()
        headers = {"User-Agent": f"tns_marker{marker}", "Content-Type": "application/x-www-form-urlencoded"}
        answer = post(f"{self.api_url}/{method}", form, headers, self.timeout_s, whole=True)
        return json.loads(answer).get("data") or {}


def _first(curve: LightCurve) -> LightCurve:
    """The first positive detection that has a magnitude, as a light curve of one point or none."""
    seen = curve.detections
    seen = seen.where(seen.positive & (seen.mag == seen.mag))
    return seen.where(seen.jd <= seen.jd[0]) if len(seen) else seen


def _photometry(points: LightCurve) -> list[dict[str, Any]]:
    return [
        {
            "obsdate": _date(float(points.jd[n])),
            "flux": round(float(points.mag[n]), 3),
            "flux_error": round(float(points.mag_err[n]), 3),
            "flux_units": _AB_MAG,
            "filter_value": _FILTERS.get((points.survey, str(points.band[n])), 0),
            "instrument_value": _INSTRUMENTS.get(points.survey, 0),
        }
        for n in range(len(points))
        if points.mag[n] == points.mag[n]
    ]


def _limit(curve: LightCurve, jd: float) -> dict[str, Any]:
    """The last upper limit before a time; where there is none, the server wants to be told so."""
    unseen = curve.non_detections
    before = unseen.where(unseen.jd < jd)
    if not len(before):
        return {"archiveid": "0", "archival_remarks": "no limit of this survey before"}
    return {
        "obsdate": _date(float(before.jd[-1])),
        "limiting_flux": round(float(before.mag_limit[-1]), 3),
        "flux_units": _AB_MAG,
        "filter_value": _FILTERS.get((curve.survey, str(before.band[-1])), 0),
        "instrument_value": _INSTRUMENTS.get(curve.survey, 0),
    }


def _date(jd: float) -> str:
    """A Julian date as the server writes it: UT, to the millisecond."""
    return iso_of_jd(jd).replace("T", " ")


def _said(feedback: Mapping[str, Any], number: Any) -> str | SendError:
    """What the server says about one object of a report."""
    for code, word in ((_MADE, "new"), (_THERE, "is there")):
        if code in feedback:
            found = feedback[code]
            return f"report {number}: {word}: {found.get('objname', '?')}"
    return RefusedError(f"report {number}: {json.dumps(feedback)[:300]}")
