"""Objects as notices of GCN, NASA's network for time-domain and multimessenger astronomy."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, field_validator

from ampel_dagster.model.view import ReactionContext, TransientView
from ampel_dagster.units.t3._columns import Path
from ampel_dagster.units.t3._kafka import KafkaSecurity, KafkaSender, SecretName
from ampel_dagster.units.t3._message import plain
from ampel_dagster.units.t3._times import iso, iso_of_jd

#: What a notice says by itself; `fields` adds to it.
_OWN = frozenset(
    {
        *("$schema", "alert_datetime", "alert_tense", "alert_type", "mission", "instrument", "messenger"),
        *("event_name", "id", "trigger_time", "ra", "dec", "ra_dec_error", "containment_probability"),
        *("additional_info",),
    }
)


class GcnNotice(KafkaSender):
    """Send each object as a notice to GCN: JSON in the unified schema, over GCN's Kafka brokers.

    By GCN's documentation for producers (https://gcn.nasa.gov/docs/notices/producers) and its core schemas Alert,
    Event, DateTime, Localization and Reporter (https://github.com/nasa-gcn/gcn-schema); positions and their
    errors are in degrees there. A mission registers its topic and a schema of its own first. The client's id and secret
    are secrets by name, with which the library gets a token (OpenID Connect). The test server and `alert_tense: test`
    are the default: set `domain: gcn.nasa.gov` and `alert_tense: current` for the real thing. `trigger_time` is the
    first detection. What becomes of a notice is as with `KafkaPublisher`. Needs the extra `kafka`.
    """

    domain: Literal["gcn.nasa.gov", "test.gcn.nasa.gov", "dev.gcn.nasa.gov"] = Field(
        "test.gcn.nasa.gov", description="which of GCN's deployments"
    )
    client_id: SecretName = Field("GCN_CLIENT_ID", description="name of the secret that holds the client's id")
    client_secret: SecretName = Field(
        "GCN_CLIENT_SECRET", description="name of the secret that holds the client's secret"
    )
    brokers: tuple[str, ...] = Field((), description="other brokers than the domain's, host:port")
    security: KafkaSecurity | None = Field(None, description="how these are talked to; none: without a login")
    topic: str = Field(
        pattern=r"^gcn\.notices\.[a-z0-9_.]{1,200}$", description="the mission's topic, gcn.notices.MISSION.TYPE"
    )
    once_per: Literal["state", "object"] = Field(
        "object", description="object: one notice each; state: later ones are updates"
    )
    schema_url: str = Field(pattern=r"^https://", description="address of the mission's schema, in GCN's repository")
    mission: str = Field(min_length=1, description="name of the mission or telescope")
    instrument: str | None = Field(None, description="name of the instrument")
    alert_tense: Literal["current", "archival", "planned", "injection", "commanded", "test"] = Field(
        "test", description="current: a new observation; test: not to be acted on"
    )
    position_error_arcsec: float = Field(gt=0, description="radius of the position's error")
    containment_probability: float = Field(0.9, gt=0, le=1, description="probability that it lies within")
    fields: dict[str, Path] = Field(
        {}, description="more fields of the notice and the paths of their values, as in {redshift: redshifts.z}"
    )
    additional_info: str = Field("", description="a sentence for people")

    @field_validator("fields")
    @classmethod
    def _are_not_its_own(cls, fields: dict[str, str]) -> dict[str, str]:
        if _OWN & set(fields):
            raise ValueError(f"{', '.join(sorted(_OWN & set(fields)))}: the notice says so by itself")
        return fields

    @property
    def paths(self) -> Sequence[str]:
        """The values of `fields`."""
        return tuple(self.fields.values())

    @property
    def cluster(self) -> tuple[Sequence[str], KafkaSecurity | None]:
        """The domain's brokers, or others."""
        if self.brokers:
            return self.brokers, self.security
        login = KafkaSecurity(
            mechanism="OAUTHBEARER",
            username=self.client_id,
            password=self.client_secret,
            token_url=f"https://auth.{self.domain}/oauth2/token",
        )
        return (f"kafka.{self.domain}:9092",), login

    def message(self, view: TransientView, context: ReactionContext) -> bytes:
        """The notice in UTF-8."""
        return json.dumps(self.notice(view, context), ensure_ascii=False, allow_nan=False).encode()

    def preview(self, views: Sequence[TransientView], context: ReactionContext) -> str:
        """The notices, one JSON line each."""
        return "\n".join(json.dumps(self.notice(view, context), ensure_ascii=False) for view in views)

    def notice(self, view: TransientView, context: ReactionContext) -> Mapping[str, Any]:
        """The notice; values that are missing are left out. Raises ValueError without a position."""
        if view.ra_deg != view.ra_deg or view.dec_deg != view.dec_deg:
            raise ValueError("a notice needs a position")
        first_jd = view.facts["first_jd"]
        is_update = self.once_per == "state" and len(view.states) > 1
        found = {
            "$schema": self.schema_url,
            "alert_datetime": f"{iso(context.now)}Z",
            "alert_tense": self.alert_tense,
            "alert_type": "update" if is_update else "initial",
            "mission": self.mission,
            "instrument": self.instrument,
            "messenger": "EM",
            "event_name": [view.name],
            "id": [str(view.alerts[-1])],
            "trigger_time": None if first_jd is None else f"{iso_of_jd(first_jd)}Z",
            "ra": float(view.ra_deg),
            "dec": float(view.dec_deg),
            "ra_dec_error": self.position_error_arcsec / 3600,
            "containment_probability": self.containment_probability,
            "additional_info": self.additional_info or None,
        }
        found |= {name: plain(view.value(path)) for name, path in self.fields.items()}
        return {name: value for name, value in found.items() if value is not None}
