"""Objects as VOEvents, for telescopes and networks that react by themselves."""

from collections.abc import Sequence
from typing import ClassVar, Literal, Self
from xml.etree.ElementTree import SubElement

from pydantic import Field, model_validator

from ampel_dagster.model.errors import RefusedError
from ampel_dagster.model.view import ReactionContext, TransientView
from ampel_dagster.units.base import Publisher
from ampel_dagster.units.t3 import _voevent as xml
from ampel_dagster.units.t3._columns import Paths
from ampel_dagster.units.t3._files import safe_stem, write_whole
from ampel_dagster.units.t3._message import light_curve_rows, values
from ampel_dagster.units.t3._times import iso, iso_of_jd
from ampel_dagster.units.t3._vtp import hand_over

_COLUMNS = ("jd", "kind", "band", "mag", "mag_err", "mag_limit")
_IVOID = r"^ivo://[A-Za-z0-9][A-Za-z0-9._~-]{2,}(/[A-Za-z0-9._~/-]*[A-Za-z0-9])?$"


class VOEvent(Publisher):
    """Tell of each object by a VOEvent 2.0, handed to a broker, written to a file, or both.

    By IVOA's Recommendation VOEvent 2.0 (2011-07-11, https://www.ivoa.net/documents/VOEvent/); events validate against
    its schema. A broker is spoken to by the VOEvent Transport Protocol 2.0 (2017-03-20,
    https://www.ivoa.net/documents/VOEventTransport/): one connection an event; its ack is kept, a nak is a refusal. The
    event's id is made of `stream`, process, channel, object and state, hence the same whenever it is sent again, and
    brokers know it again. The event of a new state cites the last one of the object that is known to have arrived, as
    its followup. Files are `voevents/NAME_STATE.xml` in the report's folder. Time: the night's last alert of the
    object, UTC; position: ICRS.
    """

    #: Brokers and their subscribers know an event again by its id.
    idempotent: ClassVar[bool] = True

    stream: str = Field(pattern=_IVOID, description="IVOA id of the stream, as in ivo://org.example/transients")
    author: str = Field(pattern=_IVOID, description="IVOA id of who is responsible, as in ivo://org.example")
    title: str = Field("", description="name of the organization")
    contact_name: str = Field("", description="whom to ask")
    contact_email: str = Field("", description="and where")
    role: Literal["observation", "prediction", "utility", "test"] = Field(
        "test", description="observation: the real thing; test: not to be acted on"
    )
    observatory: str = Field("GEOSURFACE", min_length=1, description="name of the observatory; default: on the ground")
    position_error_arcsec: float = Field(gt=0, description="radius of the position's error")
    columns: Paths = Field((), description="values that are told, by their paths")
    max_points: int = Field(50, ge=0, description="newest points of the light curve that are told")
    concept: str = Field(
        "process.variation.trans", description="what it is taken for, by IVOA's vocabulary; may be empty"
    )
    importance: float | None = Field(None, ge=0, le=1, description="how important it is to the author, from 0 to 1")
    description: str = Field("", description="a sentence for people")
    broker: str | None = Field(
        None,
        pattern=r"^([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}$",
        description="broker, host:port; none: files only",
    )
    archive: bool = Field(True, description="write files, too")

    @model_validator(mode="after")
    def _goes_somewhere(self) -> Self:
        if self.broker is None and not self.archive:
            raise ValueError("tells nobody: name a broker, or write archive: true")
        return self

    @property
    def paths(self) -> Sequence[str]:
        """The columns."""
        return self.columns

    def send(self, view: TransientView, context: ReactionContext) -> str:
        """Hand the event over, and write its file when it has arrived."""
        event = self.event(view, context)
        answers = [hand_over(self.broker, event, self.timeout_s)] if self.broker else []
        if self.archive:
            path = context.folder / "voevents" / f"{_local(view, self.once_per)}.xml"
            write_whole(path, lambda temporary: temporary.write_bytes(event))
            answers.append(f"written to {path}")
        return "; ".join(answers)

    def preview(self, views: Sequence[TransientView], context: ReactionContext) -> str:
        """The events."""
        return "\n".join(self.event(view, context).decode() for view in views)

    def event(self, view: TransientView, context: ReactionContext) -> bytes:
        """The document. Raises RefusedError where the object has no position or time."""
        jd = view.jd if view.jd == view.jd else view.facts["last_jd"]
        if jd is None or view.ra_deg != view.ra_deg or view.dec_deg != view.dec_deg:
            raise RefusedError("a VOEvent needs a time and a position")
        own = f"{context.process}.{context.channel}.{_local(view, self.once_per)}"
        message = context.message(view, f"{self.stream}#{own}")
        event = xml.root(message.key, self.role)
        who = SubElement(event, "Who")
        xml.leaf(who, "AuthorIVORN", self.author)
        xml.leaf(who, "Date", iso(message.at))
        about = {"title": self.title, "contactName": self.contact_name, "contactEmail": self.contact_email}
        if any(about.values()):
            author = SubElement(who, "Author")
            for name, value in about.items():
                xml.leaf(author, name, value)
        what = SubElement(event, "What")
        for fact, said, ucd in self._facts(view, context):
            xml.param(what, fact, said, ucd)
        if self.columns:
            group = SubElement(what, "Group", {"name": "values"})
            for path, value in values(view, self.columns).items():
                xml.param(group, path, value)
        if self.max_points:
            xml.table(what, "light_curve", _COLUMNS, light_curve_rows(view)[-self.max_points :])
        error_deg = self.position_error_arcsec / 3600
        xml.where_when(event, self.observatory, iso_of_jd(jd), float(view.ra_deg), float(view.dec_deg), error_deg)
        if self.concept or self.importance is not None:
            about = {} if self.importance is None else {"importance": str(self.importance)}
            why = SubElement(event, "Why", about)
            xml.leaf(why, "Name", view.name)
            xml.leaf(why, "Concept", self.concept)
        if message.before:
            xml.leaf(SubElement(event, "Citations"), "EventIVORN", message.before, cite="followup")
        xml.leaf(event, "Description", self.description)
        return xml.as_bytes(event)

    @staticmethod
    def _facts(view: TransientView, context: ReactionContext) -> list[tuple[str, str, str]]:
        return [
            ("name", view.name, "meta.id;meta.main"),
            ("survey", view.survey, "meta.dataset"),
            ("stock", str(view.stock), "meta.id"),  # larger than what readers take for an int
            ("alert", str(view.alerts[-1]), "meta.id"),
            ("process", context.process, ""),
            ("channel", context.channel, ""),
            ("night", view.night, "time.epoch"),
        ]


def _local(view: TransientView, once_per: str) -> str:
    """Name of what is told of, in letters that ids and files may have."""
    name = safe_stem(view.name, view.stock)
    return name if once_per == "object" else f"{name}_{view.link & 0xFFFFFFFFFFFFFFFF:016x}"
