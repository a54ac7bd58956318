"""What a reaction gets to see: one stock through one channel's eyes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from ampel_dagster.model.datapoint import DataPoint
from ampel_dagster.model.errors import UserError
from ampel_dagster.model.light_curve import LightCurve
from ampel_dagster.model.result import T2Result


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

    @cached_property
    def light_curve(self) -> LightCurve:
        """The state's points as a light curve."""
        return self.build_light_curve(self)

    @cached_property
    def cutouts(self) -> Mapping[str, bytes]:
        """Stamps of the last alert by name, gzipped FITS; empty where none are kept."""
        return self.read_cutouts(self.alerts[-1])

    def value(self, path: str) -> Any:
        """A value by dotted path: ``name``, ``ra_deg`` …, or ``product.field.sub`` of a T2 result; None if absent."""
        head, _, rest = path.partition(".")
        if not rest:
            return getattr(self, head, None) if head in VIEW_FIELDS else None
        found: Any = self.t2[head].body if head in self.t2 else None
        for part in rest.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        return found


#: What `TransientView.value` finds without a product's name before it.
VIEW_FIELDS = ("survey", "channel", "night", "stock", "name", "ra_deg", "dec_deg", "link", "source", "run")


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


def _no_secret(name: str) -> str:
    raise UserError(
        f"there is no secret {name}: set AMPEL_SECRET_{name}, or write it to secrets/{name} of the instance"
    )


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
    #: What units ask to add to stocks; the engine writes it when the unit has returned.
    edits: list[Edit] = field(default_factory=list, repr=False, compare=False)

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
