"""What the YAML becomes: channels, products and processes with their units built, ready for the pipeline."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ampel_dagster.model.datapoint import Kind
from ampel_dagster.model.ids import hash_json
from ampel_dagster.model.selection import Condition, Inside, Select
from ampel_dagster.units.base import (
    AlertFilter,
    ReactionUnit,
    StateUnit,
    StockUnit,
    T1Combiner,
    T1Compute,
    T2Unit,
    Unit,
)
from ampel_dagster.units.base import LightCurveUnit as _LightCurveUnit


@dataclass(frozen=True)
class Limits:
    """How a product is computed; nothing of it changes results, so that it is not part of the product's identity."""

    #: In processes of their own, so that a unit that never ends or crashes costs its own document only.
    isolate: bool = False
    #: Number of these processes.
    processes: int = 1
    #: Time that a document may take; only in processes of their own.
    time_limit_s: float | None = None
    #: Memory that such a process may take for it, beyond what it has when it starts.
    memory_limit_mb: float | None = None
    #: Attempts after which a ticket is given up.
    attempts: int = 5
    #: Time until the second attempt; it doubles with each one.
    retry_after_s: float = 30.0
    #: Tickets a batch; None: as many as usual.
    batch: int | None = None


@dataclass(frozen=True)
class Product:
    """A T2 product: a configured unit under a name."""

    name: str
    unit: T2Unit
    #: The products whose results it builds upon.
    requires: tuple["Product", ...] = ()
    limits: Limits = field(default_factory=Limits)

    @cached_property
    def id(self) -> int:
        """Hash of unit, explicit configuration and required products; the unit's version is not in it."""
        return hash_json([type(self.unit).__name__, self.unit.explicit_config(), sorted(p.id for p in self.requires)])

    @property
    def version(self) -> str:
        """Version of the unit."""
        return self.unit.version

    @property
    def input_kind(self) -> str:
        """What it is computed from: 'state', 'stock' or 'point'."""
        return "state" if self.of_state else "stock" if self.of_stock else "point"

    @property
    def of_state(self) -> bool:
        """Whether it is computed from states (else from points or stocks)."""
        return isinstance(self.unit, StateUnit | _LightCurveUnit)

    @property
    def of_stock(self) -> bool:
        """Whether it is computed from stocks."""
        return isinstance(self.unit, StockUnit)


def in_order(product: Product) -> list[Product]:
    """A product after all that it requires."""
    found: list[Product] = []
    for required in product.requires:
        found += [p for p in in_order(required) if p not in found]
    return [*found, product]


@dataclass(frozen=True)
class StateValue:
    """A T1 unit that computes on each new state of a channel, under the channel's name for it."""

    name: str
    unit: T1Compute

    @cached_property
    def key(self) -> str:
        """Where its result stands in a state, which channels with other configurations may share."""
        return f"{self.unit.identity() & (1 << 64) - 1:016x}"


@dataclass(frozen=True)
class Request:
    """A channel asks for a product, for all its alerts or for those of some groups of its filter."""

    product: Product
    group: tuple[int, ...] = ()

    def wants(self, code: int) -> bool:
        """Whether an alert accepted with this code (0: all groups) shall have the product."""
        return not self.group or code == 0 or code in self.group


@dataclass(frozen=True)
class Gate:
    """What a filter must show before its channel goes live."""

    #: The reference night.
    night: str
    #: Largest share of the night's alerts that it may accept.
    max_share: float


@dataclass(frozen=True)
class ChannelRules:
    """What one channel wants of one survey."""

    channel: str
    survey: str
    filter: AlertFilter | None
    known_stocks: str
    access: frozenset[str]
    combiner: T1Combiner
    requests: tuple[Request, ...]
    #: Id of all that decides about alerts; part of each verdict.
    config: int
    #: Key of the states that this channel sees: its combiner and its data rights.
    view: str
    #: Id of the combiner, part of each link.
    combiner_id: int
    #: Names of the processes that are to hear of what is new to the channel.
    reactions: tuple[str, ...] = ()
    #: What the filter must show before it judges live alerts.
    gate: Gate | None = None
    #: What is computed on each state while it is stored.
    values: tuple[StateValue, ...] = ()
    #: Days before the first alert that it took of an object, of which it wants the object's alerts too.
    history_days: int = 0

    @cached_property
    def candidate_only(self) -> bool:
        """Whether the filter says that it reads nothing but the candidate."""
        return self.filter is not None and self.filter.needs == "candidate"

    @property
    def filter_name(self) -> str:
        """Class and version of the filter, for people."""
        return f"{type(self.filter).__name__} {self.filter.version}" if self.filter else "none"

    @property
    def description(self) -> dict[str, Any]:
        """What `config` stands for."""
        return {
            "channel": self.channel,
            "survey": self.survey,
            "filter": _described(self.filter) if self.filter else None,
            "known_stocks": self.known_stocks,
            "access": sorted(self.access),
            "combiner": _described(self.combiner),
        }

    @classmethod
    def make(
        cls,
        channel: str,
        survey: str,
        *,
        filter: AlertFilter | None,
        known_stocks: str,
        access: frozenset[str],
        combiner: T1Combiner,
        requests: tuple[Request, ...],
        reactions: tuple[str, ...] = (),
        gate: Gate | None = None,
        values: tuple[StateValue, ...] = (),
        history_days: int = 0,
    ) -> "ChannelRules":
        """Rules with their ids."""
        rights = sorted(access)
        # The version of the filter's code is part of it: what the old code said is no verdict of the new one.
        judge = [filter.identity(), filter.version] if filter else None
        config = hash_json([judge, known_stocks, rights, combiner.identity()])
        view = f"{hash_json([combiner.identity(), rights]) & (1 << 64) - 1:016x}"
        combiner_id = combiner.identity()
        return cls(
            channel,
            survey,
            filter,
            known_stocks,
            access,
            combiner,
            requests,
            config,
            view,
            combiner_id,
            reactions,
            gate,
            values,
            history_days,
        )


def _described(unit: Unit) -> dict[str, Any]:
    return {"unit": type(unit).__name__, "version": unit.version, "config": unit.explicit_config()}


@dataclass(frozen=True)
class Trigger:
    """What starts a process by itself."""

    on: str | None = None
    schedule: str | None = None
    timezone: str = "UTC"
    #: Minutes between two runs for a channel, at least; what comes in between is reacted to together.
    every_minutes: int = 0


@dataclass(frozen=True)
class Show:
    """What of a view a unit is shown; None: all."""

    #: Names of products.
    t2: tuple[str, ...] | None = None
    #: Kinds of datapoints.
    points: tuple[Kind, ...] | None = None
    #: Data rights: of datapoints only those that these give a right to.
    access: frozenset[str] | None = None


@dataclass(frozen=True)
class Stage:
    """One unit of a process, with the conditions under which it gets an object, and what it is shown of it."""

    unit: ReactionUnit
    where: tuple[Condition, ...] = ()
    show: Show | None = None


@dataclass(frozen=True)
class Process:
    """A T3 process: units that react to what a selection finds."""

    name: str
    units: tuple[ReactionUnit, ...]
    select: Select = field(default_factory=Select)
    trigger: Trigger | None = None
    #: Whether archive runs may send things outside too.
    react: bool = False
    #: Whether it only says what it would do.
    dry_run: bool = False
    #: The units with what is theirs alone; none: every unit gets all objects.
    staged: tuple[Stage, ...] = ()
    #: Tests of the regions that the selection names.
    inside: tuple[Inside, ...] = ()

    @property
    def stages(self) -> tuple[Stage, ...]:
        """What is done, one after the other."""
        return self.staged or tuple(Stage(unit) for unit in self.units)


@dataclass(frozen=True)
class Channel:
    """A science programme."""

    name: str
    contact: str
    access: frozenset[str]
    members: tuple[str, ...]
    surveys: Mapping[str, ChannelRules]
    t3: tuple[str, ...]
    #: The file as it was read, for its hash and for people.
    spec: Mapping[str, Any]
