"""A stream: one survey's packets, where they lie and how they are kept."""

import re
from datetime import date
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

_BROKER = re.compile(r"[A-Za-z0-9._-]+:\d{1,5}|\[[0-9A-Fa-f:.]+\]:\d{1,5}")
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Archive(_Strict):
    """Nightly files, for backfills."""

    folder: str = Field(description="folder of the nightly files, relative to the instance")
    pattern: str = Field(description="file name with the night, as in 'ztf_public_{night:%Y%m%d}.tar.gz'")

    @field_validator("pattern")
    @classmethod
    def _has_night(cls, pattern: str) -> str:
        try:
            if pattern.format(night=date(2018, 8, 19)) == pattern.format(night=date(2018, 8, 20)):
                raise ValueError
        except (KeyError, IndexError, ValueError):
            raise ValueError("needs the night, as in 'ztf_public_{night:%Y%m%d}.tar.gz'") from None
        return pattern

    def file_name(self, night: str) -> str:
        """Name of a night's file."""
        return self.pattern.format(night=date.fromisoformat(night))


class Landing(_Strict):
    """Folder into which new files are dropped."""

    folder: str = Field(description="folder that is watched, relative to the instance")


class Schemas(_Strict):
    """Schemas of packets that name theirs by a number."""

    folder: str = Field(description="folder with MAJOR/MINOR/*.avsc, relative to the instance")


class Security(_Strict):
    """How Kafka is talked to. Secrets stand here by the name of a variable or a file, and are looked up at run time.

    Paths are relative to the instance; a file of a secret holds nothing else.
    """

    protocol: Literal["SASL_SSL", "SASL_PLAINTEXT", "SSL"] = Field(
        "SASL_SSL", description="SSL: encrypted; SASL: with user and password"
    )
    mechanism: Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"] | None = Field(
        None, description="how the password is proved, with SASL"
    )
    username_env: str | None = Field(None, description="variable of the environment that holds the user")
    username_file: str | None = Field(None, description="or the file that does")
    password_env: str | None = Field(None, description="variable of the environment that holds the password")
    password_file: str | None = Field(None, description="or the file that does")
    ca_file: str | None = Field(None, description="certificates that are trusted (PEM); none: the system's")
    certificate_file: str | None = Field(None, description="our own certificate (PEM), where the broker asks for one")
    key_file: str | None = Field(None, description="its private key (PEM)")
    key_password_env: str | None = Field(None, description="variable that holds the password of the private key")
    key_password_file: str | None = Field(None, description="or the file that does")

    @field_validator("username_env", "password_env", "key_password_env")
    @classmethod
    def _is_a_name(cls, env: str | None) -> str | None:
        # The value is not repeated: who mixes the two up has written the secret here.
        if env is not None and _VARIABLE.fullmatch(env) is None:
            raise ValueError("is no name of a variable; write its name, as in ZTF_PASSWORD, and not the secret")
        return env

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        for name in ("username", "password", "key_password"):
            if getattr(self, f"{name}_env") and getattr(self, f"{name}_file"):
                raise ValueError(f"names two places of the {name}; keep {name}_env or {name}_file")
        login = (self.mechanism, self.username_env or self.username_file, self.password_env or self.password_file)
        if self.protocol.startswith("SASL") and not all(login):
            raise ValueError(f"with {self.protocol} goes a login; add mechanism, username_env, password_env (or _file)")
        if self.protocol == "SSL" and any(login):
            raise ValueError("with protocol SSL goes no login; write protocol: SASL_SSL, or remove the login")
        if bool(self.certificate_file) != bool(self.key_file):
            raise ValueError("certificate_file and key_file go together; add the other one")
        return self


class Kafka(_Strict):
    """Packets that come over Kafka, one message a packet."""

    brokers: tuple[str, ...] = Field(min_length=1, description="addresses to begin with, host:port")
    topics: tuple[str, ...] = Field((), description="names of topics")
    pattern: str | None = Field(None, description="instead of topics: regular expression, as in '^ztf_.*_programid1$'")
    group: Annotated[str, Field(min_length=1, max_length=249)] = Field(
        "ampel", description="consumer group under which progress is shown to the broker's operators"
    )
    max_packets_per_run: int = Field(10_000, ge=1, le=1_000_000, description="packets that one run takes at most")
    timeout_s: float = Field(30.0, gt=0, le=600, description="seconds after which a silent broker is an error")
    security: Security | None = Field(None, description="none: neither encryption nor login")

    @field_validator("brokers")
    @classmethod
    def _are_addresses(cls, brokers: tuple[str, ...]) -> tuple[str, ...]:
        for broker in brokers:
            if _BROKER.fullmatch(broker) is None:
                raise ValueError(f"{broker!r} is no address; write host:port, as in alerts.example.org:9092")
        return brokers

    @field_validator("topics")
    @classmethod
    def _are_topics(cls, topics: tuple[str, ...]) -> tuple[str, ...]:
        for topic in topics:
            if _TOPIC.fullmatch(topic) is None:
                raise ValueError(f"{topic!r} cannot be a topic; for several by one expression write pattern:")
        return topics

    @field_validator("pattern")
    @classmethod
    def _is_an_expression(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"is no regular expression ({error}); see Python's re") from None
        if pattern is not None and not pattern.startswith("^"):
            raise ValueError(f"{pattern!r} does not say where a name begins; write '^{pattern}'")
        return pattern

    @model_validator(mode="after")
    def _names_topics(self) -> Self:
        if bool(self.topics) == bool(self.pattern):
            raise ValueError("needs topics or a pattern; write one of the two")
        return self

    def wants(self, topic: str) -> bool:
        """Whether a topic is one of the stream's."""
        return topic in self.topics if self.topics else re.search(self.pattern or "", topic) is not None


class Stream(_Strict):
    """One survey's packets."""

    survey: str = Field(description="name of the instrument: ztf, lsst")
    start_date: date = Field(description="the first night that can exist")
    archive: Archive | None = Field(None, description="nightly files, for backfills")
    landing: Landing | None = Field(None, description="folder that is watched for new files")
    schemas: Schemas | None = Field(None, description="schemas of packets that name theirs by a number (lsst)")
    kafka: Kafka | None = Field(None, description="topics of a Kafka cluster that are followed")
    cutouts: Literal["off", "accepted"] = Field("off", description="whether stamps of accepted alerts are kept")
    cutout_days: int | None = Field(90, ge=1, description="days for which stamps are kept; null: for ever")
    rejected_days: int = Field(
        30, ge=0, description="days for which verdicts on rejected alerts are kept; 0: not at all"
    )
    max_filter_failures: int = Field(
        20, ge=1, description="a filter that raises so often in a row is left out for the rest of the run"
    )
    batch_size: int = Field(300, ge=1, le=10_000, description="packets a batch, the unit of work and of crash repair")
