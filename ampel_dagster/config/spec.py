"""The forms of the YAML files, as a user writes them."""

from datetime import date
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from ampel_dagster.config.clock import check_cron, check_timezone
from ampel_dagster.model.datapoint import Kind
from ampel_dagster.model.selection import Condition, Select

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", max_length=80)]


class Spec(BaseModel):
    """Base: unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class UnitSpec(Spec):
    """A unit by name, with its configuration."""

    unit: str
    config: dict[str, Any] = Field(default_factory=dict)


class RequestSpec(Spec):
    """A product that a channel asks for, restricted to groups of its filter."""

    product: Name
    group: tuple[int, ...] = ()


class GateSpec(Spec):
    """What a channel's filter must show before the channel goes live."""

    night: date = Field(description="reference night; its archive file is read")
    max_share: float = Field(0.05, gt=0, le=1, description="largest share of the night's alerts that it may accept")


class SurveySpec(Spec):
    """What a channel wants of one survey."""

    filter: UnitSpec | None = Field(None, description="which alerts to take; none: all")
    known_stocks: Literal["filter", "bypass", "overrule", "silent_overrule"] = Field(
        "filter", description="what to do with further alerts of a stock that the channel has accepted before"
    )
    combiner: UnitSpec = Field(
        default_factory=lambda: UnitSpec(unit="SimpleCombiner"),
        description="which datapoints make up a state",
    )
    compute: dict[Name, UnitSpec] = Field(
        default_factory=dict, description="T1 units that compute a value on each state at once, by a name of your own"
    )
    t2: tuple[RequestSpec, ...] = Field((), description="products to compute, by name")
    history_days: int = Field(
        0,
        ge=0,
        le=3650,
        description="days before an object's first accepted alert of which its alerts are brought from the archive",
    )
    gate: GateSpec | None = Field(None, description="none: the channel is live as soon as its file is there")

    @field_validator("t2", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        """A bare name asks for a product without further conditions."""
        if isinstance(value, list | tuple):
            return [{"product": item} if isinstance(item, str) else item for item in value]
        return value


class ChannelSpec(Spec):
    """``channels/NAME.yaml``, apart from its survey blocks."""

    channel: Name
    contact: str = Field("", description="who answers for it")
    access: tuple[str, ...] = Field((), description="data rights; none: public data only")
    members: tuple[str, ...] = Field((), description="who may read what it produces")
    t3: tuple[Name, ...] = Field((), description="processes that react, by name")


class ProductSpec(Spec):
    """``t2/NAME.yaml``."""

    unit: str
    config: dict[str, Any] = Field(default_factory=dict)
    requires: tuple[Name, ...] = Field((), description="products that it builds upon, by name")
    isolate: bool = Field(False, description="compute in processes of their own: a crash costs its own document only")
    processes: int | None = Field(None, ge=1, le=256, description="number of these processes; needs isolate")
    time_limit_s: float | None = Field(None, gt=0, description="time that a document may take; needs isolate")
    memory_limit_mb: float | None = Field(None, gt=0, description="memory that a document may take; needs isolate")
    attempts: int = Field(5, ge=1, le=100, description="attempts after which a ticket is given up")
    retry_after_s: float = Field(30.0, gt=0, description="time until the second attempt; doubles with each one")
    batch: int | None = Field(None, ge=1, le=10_000, description="tickets that are taken and held in memory at once")

    @model_validator(mode="after")
    def _needs_isolation(self) -> Self:
        limited = [key for key in ("processes", "time_limit_s", "memory_limit_mb") if getattr(self, key) is not None]
        if limited and not self.isolate:
            raise ValueError(f"{limited[0]} needs processes of their own: add isolate: true")
        return self


class WorkersSpec(Spec):
    """``workers.yaml``: where the job `augment` computes."""

    workers: int = Field(1, ge=1, le=256, description="steps that work on tickets at the same time")
    executor: Literal["in_process", "multiprocess", "dask", "celery", "k8s_job"] = Field(
        "in_process", description="who brings the steps to processes or machines; in_process: one after the other"
    )
    config: dict[str, Any] = Field(default_factory=dict, description="the executor's own configuration")
    batch: int = Field(
        20,
        ge=1,
        description="tickets that one of several workers takes at a time, where the product does not say: who takes "
        "hundreds of a costly unit leaves none to the others",
    )

    @model_validator(mode="after")
    def _at_the_same_time(self) -> Self:
        if self.workers > 1 and self.executor == "in_process":
            raise ValueError("several workers need an executor; add: executor: multiprocess (or dask)")
        return self


class ShowSpec(Spec):
    """What of an object a unit is shown; what is not named is shown in full."""

    t2: tuple[Name, ...] | None = Field(None, description="only these products")
    points: tuple[Kind, ...] | None = Field(None, description="only datapoints of these kinds")
    access: tuple[str, ...] | None = Field(
        None, description="only datapoints that these data rights cover; objects without any are left out"
    )


class StageSpec(UnitSpec):
    """A unit of a process, with what is its own."""

    where: tuple[str, ...] = Field((), description="further conditions: this unit gets only objects that fulfil them")
    show: ShowSpec | None = Field(None, description="what of an object it is shown; none: all that the channel may see")

    @field_validator("where")
    @classmethod
    def _parses(cls, where: tuple[str, ...]) -> tuple[str, ...]:
        for text in where:
            Condition.parse(text)
        return where


class TriggerSpec(Spec):
    """What starts a process by itself."""

    on: Literal["t2"] | None = Field(None, description="t2: when results of its channels are new")
    schedule: str | None = Field(None, description="cron expression, as in '0 8 * * *'")
    timezone: str = "UTC"
    every_minutes: int = Field(
        0, ge=0, description="minutes between two runs for a channel, at least: news in between are reacted to together"
    )

    @field_validator("schedule")
    @classmethod
    def _comes(cls, schedule: str | None) -> str | None:
        return schedule if schedule is None else check_cron(schedule)

    @field_validator("timezone")
    @classmethod
    def _is_known(cls, timezone: str) -> str:
        return check_timezone(timezone)


class ProcessSpec(Spec):
    """``t3/NAME.yaml``."""

    select: Select = Field(default_factory=Select)
    units: tuple[StageSpec, ...] = Field(min_length=1)
    trigger: TriggerSpec | None = None
    react: bool = Field(False, description="send things outside also in runs over archives")
    dry_run: bool = Field(False, description="say what would be sent, and send and write nothing")
