"""Messages to Kafka topics, each sent once and confirmed by the brokers, and what is known of those that are not."""

import logging
import re
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, field_validator, model_validator

from ampel_dagster.model.errors import BusyError, RefusedError
from ampel_dagster.model.view import ReactionContext, TransientView
from ampel_dagster.units.base import BulkPublisher

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message

_INSTALL = "pip install 'ampel-dagster[kafka]'"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_BROKER = re.compile(r"[A-Za-z0-9._-]+:\d{1,5}|\[[0-9A-Fa-f:.]+\]:\d{1,5}")
#: The library's own log; whoever configures logging sees it.
_LOG = logging.getLogger("ampel_dagster.kafka")
_LOG.addHandler(logging.NullHandler())
#: Errors that say: nothing was appended, later it may be. Names as in Kafka's protocol, with _ the library's own.
_LATER = frozenset(
    {
        "_PURGE_QUEUE",
        "_QUEUE_FULL",
        "LEADER_NOT_AVAILABLE",
        "NOT_LEADER_FOR_PARTITION",
        "BROKER_NOT_AVAILABLE",
        "NOT_ENOUGH_REPLICAS",
        "THROTTLING_QUOTA_EXCEEDED",
    }
)
#: Nothing was appended, nor will it be before somebody has mended what all messages suffer from.
_MEND = frozenset(
    {
        "_AUTHENTICATION",
        "_UNKNOWN_TOPIC",
        "_UNKNOWN_PARTITION",
        "UNKNOWN_TOPIC_OR_PART",
        "TOPIC_EXCEPTION",
        "TOPIC_AUTHORIZATION_FAILED",
        "CLUSTER_AUTHORIZATION_FAILED",
        "SASL_AUTHENTICATION_FAILED",
    }
)
#: This one message is not wanted.
_REFUSED = frozenset({"MSG_SIZE_TOO_LARGE", "INVALID_MSG", "INVALID_MSG_SIZE", "INVALID_RECORD", "POLICY_VIOLATION"})


def _is_a_name(name: str) -> str:
    # The value is not repeated: who mixes the two up has written the secret here.
    if _NAME.fullmatch(name) is None:
        raise ValueError("is no name of a secret; write its name, as in KAFKA_PASSWORD, and not the secret")
    return name


SecretName = Annotated[str, AfterValidator(_is_a_name)]


class KafkaSecurity(BaseModel):
    """How the brokers are talked to; secrets stand here by their names."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    protocol: Literal["SASL_SSL", "SASL_PLAINTEXT", "SSL"] = Field(
        "SASL_SSL", description="SSL: encrypted; SASL: with a login"
    )
    mechanism: Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN", "OAUTHBEARER"] | None = Field(
        None, description="how the login is proved, with SASL"
    )
    username: SecretName | None = Field(None, description="name of the secret that holds the user, or the client's id")
    password: SecretName | None = Field(
        None, description="name of the secret that holds the password, or the client's secret"
    )
    token_url: str | None = Field(
        None, pattern=r"^https?://", description="where tokens are given out (OpenID Connect), with OAUTHBEARER"
    )
    scope: str | None = Field(None, description="scope of the tokens, if one is asked for")
    ca_file: str | None = Field(
        None, description="certificates that are trusted (PEM), relative to the instance; none: the system's"
    )

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        login = (self.mechanism, self.username, self.password)
        if self.protocol != "SSL" and not all(login):
            raise ValueError(f"with {self.protocol} goes a login; add mechanism, username, password")
        if self.protocol == "SSL" and any(login):
            raise ValueError("with protocol SSL goes no login; write protocol: SASL_SSL, or remove the login")
        if (self.mechanism == "OAUTHBEARER") != (self.token_url is not None):
            raise ValueError("token_url and mechanism OAUTHBEARER go together; add the other one")
        return self

    def settings(self, secret: Callable[[str], str], folder: Path) -> dict[str, str]:
        """Settings of the library with the secrets in them: to be handed on at once, and kept nowhere."""
        found: dict[str, str | None] = {"security.protocol": self.protocol, "sasl.mechanism": self.mechanism}
        user, password = (secret(name) if name else None for name in (self.username, self.password))
        ca = str(folder / Path(self.ca_file).expanduser()) if self.ca_file else None
        found["ssl.ca.location"] = ca
        if self.mechanism == "OAUTHBEARER":
            found |= {
                "sasl.oauthbearer.method": "oidc",
                "sasl.oauthbearer.client.id": user,
                "sasl.oauthbearer.client.secret": password,
                "sasl.oauthbearer.token.endpoint.url": self.token_url,
                "sasl.oauthbearer.scope": self.scope,
                "https.ca.location": ca,
            }
        else:
            found |= {"sasl.username": user, "sasl.password": password}
        return {name: value for name, value in found.items() if value is not None}


class KafkaSender(BulkPublisher):
    """What publishers share that send a message an object to a topic, with the object's name as its key."""

    one_each: ClassVar[bool] = True

    batch: int = Field(100, ge=1, le=10_000, description="messages that are sent over one connection, at most")
    brokers: tuple[str, ...] = Field(min_length=1, description="addresses to begin with, host:port")
    topic: str = Field(pattern=r"^[A-Za-z0-9._-]{1,249}$", description="name of the topic")
    security: KafkaSecurity | None = Field(None, description="none: neither encryption nor login")
    _folder: Path = PrivateAttr(Path())

    @field_validator("brokers")
    @classmethod
    def _are_addresses(cls, brokers: tuple[str, ...]) -> tuple[str, ...]:
        for broker in brokers:
            if _BROKER.fullmatch(broker) is None:
                raise ValueError(f"{broker!r} is no address; write host:port, as in kafka.example.org:9092")
        return brokers

    @property
    def cluster(self) -> tuple[Sequence[str], KafkaSecurity | None]:
        """Brokers and how they are talked to."""
        return self.brokers, self.security

    @abstractmethod
    def message(self, view: TransientView, context: ReactionContext) -> bytes:
        """The message about one object. Raises ValueError or TypeError where there is none to be made."""

    def prepare(self, folder: Path) -> Self:
        """Check that the library is installed, and remember from where paths count."""
        if find_spec("confluent_kafka") is None:
            raise ValueError(f"confluent-kafka is not installed; {_INSTALL}")
        prepared = self.model_copy()
        prepared._folder = folder
        return prepared

    def send_many(self, views: Sequence[TransientView], context: ReactionContext) -> Mapping[int, str | Exception]:
        """Send a message an object over one connection, and wait for what the brokers say about each."""
        answers: dict[int, str | Exception] = {}
        messages: dict[int, tuple[str, bytes]] = {}
        for view in views:
            try:
                messages[view.stock] = view.name, self.message(view, context)
            except (TypeError, ValueError, OverflowError) as error:
                answers[view.stock] = RefusedError(f"cannot be written as a message: {error}")
        if messages:
            answers |= _Delivery(self.settings(context), self.topic, self.timeout_s).of(messages)
        return answers

    def settings(self, context: ReactionContext) -> dict[str, Any]:
        """Settings of the library, with the secrets in them."""
        brokers, security = self.cluster
        milliseconds = max(10, int(self.timeout_s * 1000))
        return {
            "bootstrap.servers": ",".join(brokers),
            "client.id": "ampel-dagster",
            # It arrived when all replicas that are in step have it.
            "acks": "all",
            # A message goes out once, so that one that is still here has not arrived; who tries again is the engine.
            "retries": 0,
            # We say ourselves when a message is given up.
            "message.timeout.ms": 0,
            "request.timeout.ms": milliseconds,
            "socket.timeout.ms": milliseconds,
            # As Java's clients do: whoever writes to the topic, a key has its partition.
            "partitioner": "murmur2_random",
            **(security.settings(context.secret, self._folder) if security else {}),
        }


class _Delivery:
    """Messages under way, and what is known of each."""

    def __init__(self, settings: Mapping[str, Any], topic: str, timeout_s: float) -> None:
        self._settings, self._topic, self._timeout_s = settings, topic, timeout_s
        self._where = f"kafka at {settings['bootstrap.servers']}"
        self._answers: dict[int, str | Exception] = {}
        self._complaint, self._is_barred = "", False

    def of(self, messages: Mapping[int, tuple[str, bytes]]) -> dict[int, str | Exception]:
        """Send messages (key and content by stock); return the place of each, or why it has none."""
        from confluent_kafka import KafkaException, Producer

        try:
            producer = Producer({**self._settings, "error_cb": self._remember}, logger=_LOG)
        except KafkaException as error:  # a setting, or a file that it names, is wrong
            raise BusyError(f"{self._where}: {_said(error)}", float("inf")) from None
        end = monotonic() + self._timeout_s
        for stock, (key, content) in messages.items():
            settle = partial(self._settle, stock)
            try:
                producer.produce(self._topic, content, key=key.encode("utf-8", "replace"), on_delivery=settle)
            except KafkaException as error:
                self._answers[stock] = self._meaning(error.args[0])
            except BufferError:
                self._answers[stock] = BusyError("too many messages at once; make batch smaller")
        while len(producer) and not self._is_barred and monotonic() < end:
            producer.poll(0.05)
        if len(producer):
            # What is in our queue was never sent; what was sent, and not confirmed, may have arrived.
            producer.purge(in_queue=True, in_flight=True)
            producer.flush(1)
        return self._answers

    def _remember(self, error: "KafkaError") -> None:
        """Keep why there is no connection; the last word of several that fail is that all of them do."""
        if error.name() != "_ALL_BROKERS_DOWN":
            self._complaint = error.str()
        self._is_barred |= error.name() in _MEND

    def _settle(self, stock: int, error: "KafkaError | None", message: "Message") -> None:
        place = f"{message.topic()}/{message.partition()} at offset {message.offset()}"
        self._answers[stock] = place if error is None else self._meaning(error)

    def _meaning(self, error: "KafkaError") -> Exception:
        """What an error says about a message."""
        name = error.name()
        if name == "_PURGE_QUEUE":
            if self._is_barred:
                return BusyError(f"{self._where}: {self._complaint}", float("inf"))
            why = f" ({self._complaint})" if self._complaint else ""
            return BusyError(f"{self._where} did not take it within {self._timeout_s:g} s{why}")
        said = f"{self._where}: {error.str()}"
        if name in _REFUSED:
            return RefusedError(said)
        if name in _LATER or name in _MEND:
            return BusyError(said, float("inf") if name in _MEND else None)
        if name == "_PURGE_INFLIGHT":
            return TimeoutError(f"{self._where} did not confirm it within {self._timeout_s:g} s: it may have arrived")
        return ConnectionError(f"{said}: it may have arrived")


def _said(error: Exception) -> str:
    found = error.args[0]
    return found.str() if hasattr(found, "str") else str(found)
