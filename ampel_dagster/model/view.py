"""What a reaction gets to see: one stock through one channel's eyes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from math import nan
from pathlib import Path
from typing import Any, NamedTuple

from ampel_dagster.model.datapoint import DataPoint
from ampel_dagster.model.errors import UserError
from ampel_dagster.model.light_curve import LightCurve
from ampel_dagster.model.result import T2Result


class PastState(NamedTuple):
    """A state of an object as its channel knows it."""

    link: int
    #: Time (Julian date) and night of the alert that led to it.
    jd: float
    night: str
    n_points: int
    #: Ids of the channel's alerts that led to it.
    alerts: tuple[int, ...]


@dataclass(frozen=True)
class TransientView:
    """One stock as one channel may see it on one night.

    The state is that of the channel's last alert of the night, so a night that is looked at again years later looks
    the same. Light curve and stamps are read when first asked for.
    """

    survey: str
    channel: str
    night: str
    stock: int
    name: str
    tag: tuple[str, ...]
    ra_deg: float
    dec_deg: float
    #: Ids of the channel's alerts of the night, newest last.
    alerts: tuple[int, ...]
    #: Where the last of them was read: file and number of the packet in it.
    source: str
    offset: int
    #: Run that stored the alert.
    run: str
    #: Names the state.
    link: int
    #: Datapoints of the state, oldest first.
    points: tuple[DataPoint, ...]
    #: Links of all the channel's states of this stock up to this night, oldest first.
    states: tuple[int, ...]
    #: Results by product name; a product that failed or is still to come is not in it.
    t2: Mapping[str, T2Result]
    build_light_curve: Callable[["TransientView"], LightCurve] = field(repr=False, compare=False)
    read_cutouts: Callable[[int], Mapping[str, bytes]] = field(repr=False, compare=False, default=lambda _: {})
    read_history: Callable[["TransientView"], Sequence[PastState]] = field(
        repr=False, compare=False, default=lambda _: ()
    )
    #: Values of the state (of T1), by the channel's name for them; one that failed is not in it.
    t1: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    #: Times (Julian date) of the channel's first alert of this object, and of the last one of this night.
    first_jd: float = nan
    jd: float = nan
    #: Whether the channel's first alert of this object is of this night.
    is_new: bool = False

    @cached_property
    def light_curve(self) -> LightCurve:
        """The state's points as a light curve."""
        return self.build_light_curve(self)

    @cached_property
    def cutouts(self) -> Mapping[str, bytes]:
        """Stamps of the last alert by name, gzipped FITS; empty where none are kept."""
        return self.read_cutouts(self.alerts[-1])

    @cached_property
    def history(self) -> Sequence[PastState]:
        """The states of `states` with what is known of them; empty where that is not to be shown."""
        return self.read_history(self)

    @property
    def age_days(self) -> float:
        """Days from the channel's first alert of this object to the last one of this night."""
        return self.jd - self.first_jd

    @cached_property
    def facts(self) -> Mapping[str, Any]:
        """What the light curve says at a glance: `CURVE_FACTS`; None where it does not say."""
        return curve_facts(self.light_curve)

    def value(self, path: str) -> Any:
        """A value by dotted path; None if absent.

        ``name``, ``ra_deg`` … (`VIEW_FIELDS`), ``light_curve.n_detections`` … (`CURVE_FACTS`), ``t1.name.field`` of a
        value of the state, or ``product.field.sub`` of a T2 result.
        """
        head, _, rest = path.partition(".")
        if not rest:
            found = getattr(self, head) if head in VIEW_FIELDS else None
            return None if found != found else found  # NaN is no value
        if head == CURVE and head not in self.t2:
            return self.facts.get(rest)
        of_state = self.t1 if head == STATE_VALUES else None
        value: Any = self.t2[head].body if head in self.t2 else of_state
        for part in rest.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        return value


def curve_facts(curve: LightCurve) -> dict[str, Any]:
    """Numbers of points by kind, times and magnitudes of the detections; None where there is none."""
    of_kind = {kind: curve.kind == kind for kind in ("detection", "upper_limit", "forced")}
    found = of_kind["detection"]
    jd, mag, band = curve.jd[found], curve.mag[found], curve.band[found]
    measured = mag[mag == mag]
    return {
        "n_points": len(curve),
        "n_detections": int(found.sum()),
        "n_upper_limits": int(of_kind["upper_limit"].sum()),
        "n_forced": int(of_kind["forced"].sum()),
        "n_negative": int((found & ~curve.positive).sum()),
        "n_bands": len(set(band.tolist())),
        "first_jd": float(jd[0]) if len(jd) else None,
        "last_jd": float(jd[-1]) if len(jd) else None,
        "duration_days": float(jd[-1] - jd[0]) if len(jd) else None,
        "peak_mag": float(measured.min()) if len(measured) else None,
        "last_mag": float(measured[-1]) if len(measured) else None,
        "last_band": str(band[-1]) if len(band) else None,
    }


#: First part of the paths of facts about the light curve.
CURVE = "light_curve"
#: First part of the paths of values of the state.
STATE_VALUES = "t1"
#: What `curve_facts` tells, and of which type it is.
CURVE_FACTS: Mapping[str, str] = {
    **dict.fromkeys(("n_points", "n_detections", "n_upper_limits", "n_forced", "n_negative", "n_bands"), "number"),
    **dict.fromkeys(("first_jd", "last_jd", "duration_days", "peak_mag", "last_mag"), "number"),
    "last_band": "text",
}
#: What `TransientView.value` finds without a product's name before it, and of which type it is.
VIEW_FIELDS: Mapping[str, str] = {
    **dict.fromkeys(("survey", "channel", "night", "name", "source", "run"), "text"),
    **dict.fromkeys(("stock", "ra_deg", "dec_deg", "link", "first_jd", "jd", "age_days"), "number"),
    "is_new": "flag",
}


@dataclass(frozen=True, slots=True)
class Artefact:
    """A file that a report wrote."""

    path: Path
    title: str
    #: How many objects it holds.
    rows: int = 0


@dataclass(frozen=True, slots=True)
class Session:
    """The last run of a process for a channel."""

    run: str
    #: When it ended.
    ts: datetime
    #: What it did: selected, reacted, skipped, failed …
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Edit:
    """What a unit adds to a stock."""

    stock: int
    tags: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    #: Content of a journal entry; empty: none.
    journal: Mapping[str, Any] = field(default_factory=dict)


class Message(NamedTuple):
    """What is settled about a message before it is sent, and stays so however often it is made up again."""

    #: Names the message to its receivers.
    key: str
    #: When it was made up first.
    at: datetime
    #: Key of the message that told of the object's state before, and is known to have arrived; empty: there is none.
    before: str = ""


def _as_drafted(view: TransientView, draft: Message) -> Message:
    return draft


def _no_secret(name: str) -> str:
    raise UserError(
        f"there is no secret {name}: set AMPEL_SECRET_{name}, or write it to secrets/{name} of the instance"
    )


def _no_encoder(schema: Mapping[str, Any], record: Mapping[str, Any]) -> bytes:
    raise UserError("there is no Avro encoder here: give the context encode_avro")


@dataclass(frozen=True, slots=True)
class ReactionContext:
    """Circumstances of one reaction."""

    process: str
    channel: str
    night: str
    run: str
    now: datetime
    #: Folder of this process, channel and night; made when it is needed.
    folder: Path
    #: Address of the Dagster UI for links to runs, empty if unknown.
    ui_url: str = ""
    #: What the process found worth saying about the selection: counts by word.
    selection: Mapping[str, int] = field(default_factory=dict)
    #: Names of the products that the channel asks for.
    products: Sequence[str] = ()
    #: Whether nothing is to be sent or changed.
    dry_run: bool = False
    #: The last run of this process for this channel; None: there was none.
    session: Session | None = None
    #: What earlier units of this process returned for this channel and night, by the unit's name: the mapping of a
    #: PopulationUnit, the artefacts of a Report, the answers of a Publisher by stock id.
    results: Mapping[str, Any] = field(default_factory=dict)
    #: A secret by name, from the environment (`AMPEL_SECRET_<NAME>`) or the instance's file `secrets/<NAME>`. Raises
    #: UserError where there is none. The value belongs into no document, message or log.
    secret: Callable[[str], str] = field(default=_no_secret, repr=False, compare=False)
    #: Bytes of an Avro container with a schema and one record of it: units know no packet format. Raises ValueError or
    #: TypeError where the record does not fit.
    encode_avro: Callable[[Mapping[str, Any], Mapping[str, Any]], bytes] = field(
        default=_no_encoder, repr=False, compare=False
    )
    #: Keeps what is settled about the message on a view, and answers what was kept; here nothing is.
    settle: Callable[[TransientView, Message], Message] = field(default=_as_drafted, repr=False, compare=False)
    #: What units ask to add to stocks; the engine writes it when the unit has returned.
    edits: list[Edit] = field(default_factory=list, repr=False, compare=False)

    def message(self, view: TransientView, key: str) -> Message:
        """What is settled about the message on a view, for publishers whose messages name one another.

        `key` names the message to its receivers. Who asks again, as where a run died, gets what was settled first: key,
        time and the message before stay, so that the same message can be made of them.
        """
        return self.settle(view, Message(key, self.now))

    def add(
        self,
        view: TransientView,
        *,
        tags: Sequence[str] = (),
        names: Sequence[str] = (),
        journal: Mapping[str, Any] | None = None,
    ) -> None:
        """Add tags (seen by this channel alone), names (seen by all), or a journal entry to the stock of a view."""
        self.edits.append(Edit(view.stock, tuple(tags), tuple(names), dict(journal or {})))
