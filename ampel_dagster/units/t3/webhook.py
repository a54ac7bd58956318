"""Tell a web server about each object."""

import hashlib
import hmac
import json
from collections.abc import Sequence
from typing import Any

from pydantic import Field

from ampel_dagster.model.view import ReactionContext, TransientView
from ampel_dagster.units.base import Publisher
from ampel_dagster.units.t3._columns import Paths
from ampel_dagster.units.t3._http import post
from ampel_dagster.units.t3._message import light_curve_rows, record


class Webhook(Publisher):
    """Post each object as JSON, signed if there is a key.

    The body holds who and where the object is, `values` by path, and `light_curve` (one object a point) if asked for.
    Headers: `Idempotency-Key`, the same whenever this object and state are told about again;
    `X-Ampel-Signature: sha256=…`, the HMAC-SHA256 of ``<X-Ampel-Timestamp>.<body>`` with the secret `key`;
    `Authorization: Bearer …` with the secret `token`. An answer of 2xx means it arrived, 429 and 503 are tried again
    after `Retry-After`, other 4xx are a refusal; after 5xx or a time-out it is not known.
    """

    url: str = Field(pattern=r"^https?://", description="address that is posted to")
    columns: Paths = Field(("jd",), description="values that are sent, by their paths")
    light_curve: bool = Field(False, description="send the light curve, too")
    key: str | None = Field(None, description="name of the secret that messages are signed with")
    token: str | None = Field(None, description="name of the secret that is sent as a bearer token")

    @property
    def paths(self) -> Sequence[str]:
        """The columns."""
        return self.columns

    def send(self, view: TransientView, context: ReactionContext) -> str:
        """Post one object."""
        content = self._body(view, context)
        timestamp = f"{context.now.timestamp():.0f}"
        identity = f"{context.process}|{context.channel}|{view.survey}|{view.stock}"
        identity += f"|{view.link}" if self.once_per == "state" else ""
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": hashlib.sha256(identity.encode()).hexdigest()[:32],
            "X-Ampel-Timestamp": timestamp,
        }
        if self.key is not None:
            headers["X-Ampel-Signature"] = f"sha256={signature(context.secret(self.key), timestamp, content)}"
        if self.token is not None:
            headers["Authorization"] = f"Bearer {context.secret(self.token)}"
        return post(self.url, content, headers, self.timeout_s)

    def preview(self, views: Sequence[TransientView], context: ReactionContext) -> str:
        """The bodies."""
        return "\n".join(self._body(view, context).decode() for view in views)

    def _body(self, view: TransientView, context: ReactionContext) -> bytes:
        told: dict[str, Any] = record(view, context, self.columns)
        if self.light_curve:
            told["light_curve"] = light_curve_rows(view)
        return json.dumps(told, sort_keys=True, ensure_ascii=False).encode()


def signature(key: str, timestamp: str, content: bytes) -> str:
    """Hexadecimal HMAC-SHA256 (RFC 2104) of timestamp, a dot, and the body."""
    return hmac.new(key.encode(), timestamp.encode() + b"." + content, hashlib.sha256).hexdigest()
