"""Objects as messages of a Kafka topic, for programs that go on with them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from ampel_dagster.model.view import ReactionContext, TransientView
from ampel_dagster.units.t3._columns import Paths
from ampel_dagster.units.t3._kafka import KafkaSender
from ampel_dagster.units.t3._kafka_schema import TRANSIENT
from ampel_dagster.units.t3._message import light_curve_rows, plain
from ampel_dagster.units.t3._message import record as common

#: Whole numbers that Avro's long holds.
_LONGS = range(-(2**63), 2**63)


class KafkaPublisher(KafkaSender):
    """Send each object as an Avro message whose key is the object's name.

    A message is an Avro container file of one record with its schema, as ZTF's are: any Avro library reads it, and no
    schema registry is needed. The schema is in ampel_dagster/units/t3/_kafka_schema.py: who and where the object is,
    tags and alerts, `values` by path, the T2 results (bodies as JSON), the light curve and, if asked for, the stamps.
    Messages of an object go to the same partition, in order. A message counts as sent when all replicas in step have
    it (acks=all), and its place (topic, partition, offset) is kept as the answer. Where the brokers do not take it,
    nothing has arrived: it is tried again, and then by the next run. One that was handed over and not confirmed within
    `timeout_s` may have arrived, and is not sent again by itself. Needs the extra `kafka`.
    """

    columns: Paths = Field((), description="values that are sent, by their paths")
    t2: bool = Field(True, description="send the T2 results, too")
    light_curve: bool = Field(True, description="send the light curve, too")
    cutouts: bool = Field(False, description="send the stamps of the night's last alert, too")

    @property
    def paths(self) -> Sequence[str]:
        """The columns."""
        return self.columns

    def message(self, view: TransientView, context: ReactionContext) -> bytes:
        """The record of one object as an Avro container."""
        cutouts = dict(view.cutouts) if self.cutouts else {}
        return context.encode_avro(TRANSIENT, {**self.record(view, context), "cutouts": cutouts})

    def preview(self, views: Sequence[TransientView], context: ReactionContext) -> str:
        """The records without their stamps, one JSON line each."""
        return "\n".join(json.dumps(self.record(view, context), sort_keys=True) for view in views)

    def record(self, view: TransientView, context: ReactionContext) -> dict[str, Any]:
        """What is told about one object, by the names of the schema, without its stamps."""
        told = common(view, context, self.columns)
        return told | {
            "sent": int(context.now.timestamp() * 1000),
            "first_jd": plain(view.first_jd),
            "jd": plain(view.jd),
            "tags": list(view.tag),
            "alerts": list(view.alerts),
            "values": {path: _single(value) for path, value in told["values"].items()},
            "t2": {name: _result(result) for name, result in sorted(view.t2.items())} if self.t2 else {},
            "light_curve": light_curve_rows(view) if self.light_curve else [],
        }


def _single(value: Any) -> Any:
    """A value that stands alone; what is more, or a whole number beyond 64 bits, as JSON."""
    too_long = isinstance(value, int) and not isinstance(value, bool) and value not in _LONGS
    return json.dumps(value, sort_keys=True) if too_long or isinstance(value, Mapping | list) else value


def _result(result: Any) -> dict[str, Any]:
    body = json.dumps(plain(result.body), sort_keys=True)
    return {
        "unit": result.unit,
        "version": result.version,
        "code": result.code,
        "run": result.run,
        "body": body,
    }
