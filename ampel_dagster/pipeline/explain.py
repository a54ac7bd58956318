"""Why a channel took or left one alert: each stage of its filter, and the verdict that is stored."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from ampel_dagster.instruments.base import Instrument
from ampel_dagster.model.alert import Alert, Packet
from ampel_dagster.model.codes import VerdictCode, verdict_code
from ampel_dagster.model.cut import Cut
from ampel_dagster.model.errors import UserError
from ampel_dagster.pipeline.asking import ask, stages
from ampel_dagster.pipeline.guard import Failure
from ampel_dagster.sources.files import is_alert_file, list_files, read_file
from ampel_dagster.storage.collections import Document
from ampel_dagster.storage.store import SurveyStore
from ampel_dagster.units.bound import ChannelRules


class Judgement(NamedTuple):
    """What a channel says of an alert now."""

    code: int
    #: The right to see it, then the stages of the filter.
    cuts: tuple[Cut, ...]
    #: What the filter raised.
    failure: Failure | None = None

    @property
    def accepted(self) -> bool:
        """Whether the channel takes it."""
        return self.code >= 0


@dataclass(frozen=True)
class Explanation:
    """A judgement beside the verdict that is stored."""

    alert: Alert
    rules: ChannelRules
    judgement: Judgement
    #: Where the alert was read for this, for people.
    origin: str
    #: Verdict of the ledger, if there is one.
    stored: Mapping[str, Any] | None

    @property
    def is_current(self) -> bool:
        """Whether the stored verdict is one of the channel as it is now."""
        return self.stored is not None and self.stored["config"] == self.rules.config


def judge(instrument: Instrument, rules: ChannelRules, alert: Alert) -> Judgement:
    """What a channel's filter says of an alert, whatever it accepted of the stock before."""
    covered = instrument.covers(rules.access, alert.tag)
    rights = [tag for tag in alert.tag if tag in instrument.rights]
    access = Cut("access", rights, sorted(rules.access), covered)
    if not covered:
        return Judgement(VerdictCode.NO_ACCESS.value, (access,))
    answer, cuts = ask(rules, alert), stages(rules, alert)
    failure = answer if isinstance(answer, Failure) else cuts if isinstance(cuts, Failure) else None
    code = VerdictCode.EXCEPTION.value if isinstance(answer, Failure) else verdict_code(answer)
    if isinstance(cuts, Failure):
        cuts = [Cut("raised", cuts.message, None, False)]
    return Judgement(code, (access, *cuts), failure)


def explain(
    survey: SurveyStore,
    instrument: Instrument,
    rules: ChannelRules,
    id_: int,
    folders: Sequence[Path],
    path: Path | None = None,
) -> Explanation:
    """Explain the alert `id_` for a channel.

    It is read from the packets in `path`; else rebuilt from what is stored, where a channel accepted it; else read from
    where it came from, if that file is still in one of `folders`. Raises UserError that says what to do.
    """
    document = survey.ledger.find(id_)
    stored = document["verdict"].get(rules.channel) if document else None
    if path is not None:
        alert, origin = _from_packets(instrument, id_, list_files([path])), str(path)
        if alert is None:
            raise UserError(f"{path} holds no alert {id_}")
    elif document is None:
        raise UserError(f"the ledger knows no alert {id_}; give its packet: --from PATH")
    elif document.get("channel"):
        alert, origin = stored_alert(survey, instrument, document), "stored datapoints"
    else:
        alert, origin = _from_source(instrument, document, folders)
    return Explanation(alert, rules, judge(instrument, rules, alert), origin, stored)


def stored_alert(survey: SurveyStore, instrument: Instrument, document: Document) -> Alert:
    """An accepted alert as its filter saw it, out of its datapoints.

    Bodies may tell more than those of its packet did: the richest of each point is kept. Raises UserError where
    points are gone.
    """
    found = survey.points.load(document["dps"])
    points = tuple(found[id_] for id_ in document["dps"] if id_ in found)
    if not points or len(points) < len(document["dps"]):
        raise UserError(f"datapoints of alert {document['_id']} are not there; give its packet: --from PATH")
    source = document["source"]
    return Alert(
        id=document["_id"],
        stock=document["stock"],
        name=instrument.stock_name(document["stock"]),
        jd=document["jd"],
        night=document["night"],
        tag=tuple(tag for tag in points[0].tag if tag != "SUPERSEDED"),
        rank=document["rank"],
        candidate=points[0].body,
        packet=Packet(b"", str(source.get("file", "")), source["offset"]),
        read_points=lambda: points,
        read_cutouts=lambda: survey.cutouts.load(document["_id"]),
    )


def _from_packets(instrument: Instrument, id_: int, files: Iterable[Path], offset: int | None = None) -> Alert | None:
    """The alert in these files, at a place in them that is perhaps known."""
    for file in files:
        packets = read_file(file)
        for packet in packets if offset is None else islice(packets, offset, offset + 1):
            if isinstance(packet, Packet):
                for alert in instrument.decode(packet):
                    if isinstance(alert, Alert) and alert.id == id_:
                        return alert
    return None


def _from_source(instrument: Instrument, document: Document, folders: Sequence[Path]) -> tuple[Alert, str]:
    """A rejected alert, of which no more than the verdict is stored."""
    source, id_ = document["source"], document["_id"]
    name = source.get("file")
    paths = [folder / name for folder in folders] if name else []
    for path in paths:
        if path.is_file() and is_alert_file(path):
            alert = _from_packets(instrument, id_, [path], source["offset"])
            if alert is not None:
                return alert, str(path)
    place = name or f"{source.get('topic')}/{source.get('partition')}"
    where = f"packet {source['offset']} of {place}"
    raise UserError(f"alert {id_} was rejected, and its packet is not at hand ({where}); give the file: --from PATH")
