"""What a unit is: a frozen pydantic model whose fields are its configuration, with one method that computes.

A unit never talks to Dagster, to the database or to a packet format: it gets values and returns values, so that it can
be tried with plain Python. The engine checks and sorts what it hands over; the unit computes.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from ampel_dagster.model.alert import Alert
from ampel_dagster.model.catalog import CatalogReader
from ampel_dagster.model.codes import verdict_code
from ampel_dagster.model.cut import Cut
from ampel_dagster.model.datapoint import DataPoint, Kind
from ampel_dagster.model.ids import hash_json
from ampel_dagster.model.light_curve import LightCurve
from ampel_dagster.model.result import UnitResult
from ampel_dagster.model.stock import State, Stock
from ampel_dagster.model.view import Artefact, ReactionContext, TransientView

#: Bodies of the results that a tied unit builds upon: by the name of the product, and by the name of the unit that
#: computed them where only one of the required products is of that unit.
Tied = Mapping[str, Mapping[str, Any]]
T2Return = Mapping[str, Any] | UnitResult
#: What of an alert a filter reads.
Needs = Literal["candidate", "history"]


class Unit(BaseModel):
    """Base of all units: fields are configuration, an unknown or misspelt one is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=False)

    #: Version of the unit's results; a new one makes stored results stale.
    version: ClassVar[str] = "1"

    def explicit_config(self) -> dict[str, Any]:
        """The configuration without what equals a default: a new default does not change identities."""
        return self.model_dump(mode="json", exclude_defaults=True)

    def identity(self) -> int:
        """Id of unit name and explicit configuration."""
        return hash_json([type(self).__name__, self.explicit_config()])

    def prepare(self, folder: Path) -> "Unit":
        """Check that what the unit needs from outside is there; return the unit to use.

        `folder` is the instance's folder, against which relative paths count. Raises ValueError with one line that
        says what is missing. Called once, when the configuration is checked.
        """
        return self


class AlertFilter(Unit, ABC):
    """T0: decides for one channel which alerts it wants."""

    @property
    def needs(self) -> Needs:
        """What of an alert is read: 'candidate' alone (fast), or its 'history' (`alert.points`) too.

        From a filter that says 'candidate' the platform keeps the rest of the alert: touching it raises
        UndeclaredReadError. A property, as it may depend on the configuration; a filter for which it does not may
        declare ``needs: ClassVar[Needs] = "candidate"`` instead.
        """
        return "history"

    @abstractmethod
    def accept(self, alert: Alert) -> bool | int | None:
        """Give a verdict.

        False or None rejects; True accepts; an integer above 0 accepts into the group of that number; an integer
        from -255 to -1 rejects for a reason of the filter's own.
        """

    def explain(self, alert: Alert) -> list[Cut]:
        """Stages of the filter for one alert, each with what was measured, in the order of evaluation.

        A filter that does not say more has one stage: its answer.
        """
        answer = self.accept(alert)
        return [Cut("accept", answer, None, verdict_code(answer) >= 0)]


class T1Combiner(Unit, ABC):
    """T1: chooses which of a stock's datapoints make up a state."""

    #: Whether a state to which points are added that are all newer than its own becomes itself and what `combine`
    #: makes of these points alone. Where this holds, the older points of an object need not be read again.
    grows: ClassVar[bool] = False
    #: Whether each earlier detection gets a state of its own, of what was known of the object at its time.
    retro: ClassVar[bool] = False

    @abstractmethod
    def combine(self, points: Sequence[tuple[int, Kind, float, int]]) -> Iterable[int]:
        """Ids of the state's datapoints.

        `points` are (id, kind, jd, sensor) of what the channel may see at the alert's time, in no particular order.
        """

    def reason(self, kind: Kind) -> str:
        """Why a point of this kind, which the channel may see, is not in a state: one word, kept in the ledger."""
        return "combiner"


class ValueUnit(Unit):
    """Base of the units whose results other units and conditions look into."""

    def fields(self) -> Mapping[str, str] | None:
        """What a result holds, by dotted path: 'number', 'text', 'flag', 'list', or '' for any; None: not told.

        A ``*`` in a path stands for any characters. Where a unit tells, a condition on a field that does not exist, or
        that compares a number with a text, is found when the configuration is checked.
        """
        return None


class T1Compute(ValueUnit, ABC):
    """T1: a value of a state, there at once with the state itself.

    For what must not wait for T2, and costs next to nothing: it is computed while the alert is being stored.
    """

    @abstractmethod
    def compute(self, light_curve: LightCurve) -> Mapping[str, Any]:
        """Compute on the light curve of one state, which is sorted by time and may hold no detection at all.

        A dict of plain values. One that raises costs the state its value, and nothing else.
        """


class T2Unit(ValueUnit, ABC):
    """Base of the four kinds of T2 units."""

    #: Names of the units whose results of the same state (or stock) this one builds upon. A property where it depends
    #: on the configuration. A product may require more than its unit asks for: their results are in `tied` too, by the
    #: name of the product.
    requires: ClassVar[tuple[str, ...]] = ()

    def bind(self, catalogs: CatalogReader) -> "T2Unit":
        """The unit that reads catalogues of the database from here; called at the begin of each run.

        Must not fail: what is missing is raised by `process`, and costs this product only.
        """
        return self

    def data_versions(self) -> Mapping[str, str]:
        """Content hashes, by name, of the data from outside that results depend on; kept with each result."""
        return {}


class PointUnit(T2Unit):
    """Computes something on single datapoints."""

    #: Body fields that are read; None: all. A property where it depends on the configuration.
    needs: ClassVar[tuple[str, ...] | None] = None

    eligible: Literal["first", "last", "all"] = "all"
    #: Kinds of datapoints that are computed on.
    kinds: tuple[Kind, ...] = ("detection",)

    @abstractmethod
    def process(self, point: DataPoint, tied: Tied) -> T2Return:
        """Compute on one datapoint."""


class StockUnit(T2Unit):
    """Computes something on an object as a whole; done anew when the object gets a new alert."""

    @abstractmethod
    def process(self, stock: Stock, tied: Tied) -> T2Return:
        """Compute on one stock."""


class StateUnit(T2Unit):
    """Computes something on the datapoints of a state."""

    #: Body fields that are read; None: all; (): ids alone, and no datapoint is loaded. A property where it depends on
    #: the configuration.
    needs: ClassVar[tuple[str, ...] | None] = None

    @abstractmethod
    def process(self, state: State, points: Sequence[DataPoint], tied: Tied) -> T2Return:
        """Compute on one state; `points` are sorted by time, and empty where `needs` is ``()``."""


class LightCurveUnit(T2Unit):
    """Computes something on the light curve of a state, whatever the survey."""

    @abstractmethod
    def process(self, light_curve: LightCurve, tied: Tied) -> T2Return:
        """Compute on one light curve, which is sorted by time and may hold no detection at all."""

    def process_batch(self, points: pd.DataFrame, tied: Sequence[Tied]) -> Sequence[T2Return]:
        """Compute on many light curves at once; a unit for which this is faster may offer it beside `process`.

        `points` has one row a point: its column `curve` says of which light curve (0 … n − 1, in order), the others are
        those of `LightCurve`, sorted by time within a curve. A curve without points has no rows. `tied` holds one entry
        a curve. Returns one result a curve, equal to what `process` makes of it alone. Where it raises, or returns
        something else, the curves are computed one by one: a bad one costs itself only.
        """
        raise NotImplementedError

    @property
    def takes_batches(self) -> bool:
        """Whether the unit offers `process_batch`."""
        return type(self).process_batch is not LightCurveUnit.process_batch


class ReactionUnit(Unit, ABC):
    """Base of T3 units."""

    @property
    def paths(self) -> Sequence[str]:
        """Dotted paths of values that the unit reads from views by its configuration, to be checked beforehand."""
        return ()


class Report(ReactionUnit):
    """Writes files about all objects of a channel and night; run again, it writes them again."""

    @abstractmethod
    def write(self, views: Sequence[TransientView], context: ReactionContext) -> Sequence[Artefact]:
        """Write below `context.folder`; return what was written."""


class PopulationUnit(ReactionUnit):
    """Computes something over all selected objects of a channel and night."""

    @abstractmethod
    def process(self, views: Sequence[TransientView], context: ReactionContext) -> Mapping[str, Any] | None:
        """Compute; what is returned is kept in the run's T3 document, and later units find it in `context.results`.

        `views` may be larger than memory: go through it once, and keep what you need of each.
        """


class Publisher(ReactionUnit):
    """Tells someone outside about one object; the outbox sees to it that this happens once.

    The engine reserves, calls `send`, and confirms. It waits and tries again after a BusyError, does not after a
    RefusedError, and holds what is unknown after any other exception, unless the publisher is idempotent.
    """

    #: Whether sending the same thing twice is harmless (the receiver knows it again by its key).
    idempotent: ClassVar[bool] = False

    once_per: Literal["state", "object"] = Field("state", description="told about again in each new state, or never")
    max_per_minute: float | None = Field(None, gt=0, description="messages that are sent a minute, at most")
    timeout_s: float = Field(30.0, gt=0, description="time after which the receiver is given up")
    attempts: int = Field(3, ge=1, description="how often a busy receiver is tried in one run")
    max_per_run: int | None = Field(
        None, ge=1, description="a run that would tell about more objects than this tells about none, and fails"
    )

    @abstractmethod
    def send(self, view: TransientView, context: ReactionContext) -> str:
        """Send; return the receiver's answer, to be kept.

        Give up after `timeout_s`. Raise RefusedError or BusyError where nothing arrived; any other exception means
        that it is not known whether something did.
        """

    def preview(self, views: Sequence[TransientView], context: ReactionContext) -> str:
        """What would be sent, as text; nothing is sent, no secret is read."""
        return json.dumps([view.name for view in views])


class BulkPublisher(Publisher):
    """Tells someone outside about many objects in one message, or one request."""

    #: Whether each object is a message of its own. Where `max_per_minute` is set, they then go one by one.
    one_each: ClassVar[bool] = False

    batch: int = Field(100, ge=1, description="objects that one message is about, at most")

    @abstractmethod
    def send_many(self, views: Sequence[TransientView], context: ReactionContext) -> Mapping[int, str | Exception]:
        """Send; return by stock id the receiver's answer, or why it did not take this one.

        Of a stock with an exception that is no SendError, or that is missing from the mapping, it is not known whether
        it arrived. An exception that is raised counts for all, as in `send`.
        """

    def send(self, view: TransientView, context: ReactionContext) -> str:
        """Send about one object."""
        answer = self.send_many([view], context).get(view.stock)
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            raise LookupError("the receiver's answer does not mention the object")
        return answer
