"""The settings: few, typed, checked at start. This is the only module that reads the environment.

Every setting is an environment variable ``CLASSPULSE_<NAME>``. A secret may also be a file of that name, in lower case,
in the folder that ``CLASSPULSE_SECRETS_DIR`` names (``/run/secrets`` under Compose and Kubernetes).
"""

import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from schemas.errors import MustStop
from schemas.figure_rules import FigureRules
from sinks.warehouse import Target
from streams.kafka_access import KafkaAccess, Mechanism, Security

PREFIX = "CLASSPULSE_"
Positive = Annotated[int, Field(gt=0)]


class Settings(BaseSettings):
    """Everything that can be set; ``docs/settings.md`` is generated from here."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True)

    kafka: str = Field("127.0.0.1:9092", description="Kafka bootstrap servers, comma-separated.")
    kafka_security: Security = Field(
        "PLAINTEXT", description="How the connection to Kafka is protected; SASL: with a user and a password."
    )
    kafka_mechanism: Mechanism = Field("SCRAM-SHA-512", description="How the user proves the password, with SASL.")
    kafka_user: str = Field("", description="Who asks Kafka, with SASL.")
    kafka_password: SecretStr = Field(SecretStr(""), description="Secret: that user's password.")
    kafka_ca_file: str = Field(
        "", description="PEM file of the authorities that sign Kafka's certificates, with SSL; empty: the system's."
    )
    group: str = Field("classpulse", description="Consumer group; all workers of one group share the partitions.")
    clickhouse_url: str = Field("http://127.0.0.1:8123", description="ClickHouse's HTTP interface.")
    clickhouse_user: str = Field("classpulse_worker", description="Who asks ClickHouse.")
    clickhouse_password: SecretStr = Field(SecretStr(""), description="Secret: the user's password.")
    clickhouse_database: str = Field("classpulse", description="The database.")
    clickhouse_timeout_seconds: float = Field(30.0, gt=0, description="A call that takes longer is repeated.")
    pseudonym_key: SecretStr = Field(
        SecretStr(""), description="Secret of at least 16 bytes: students are stored as a keyed hash under it."
    )
    time_zone: str = Field("Asia/Shanghai", description="Time zone of the district's days and weeks.")
    engagement_weights: tuple[float, ...] = Field(
        (0.25, 0.25, 0.25, 0.25),
        description="Weights of response rate, breadth, evenness and interaction rate in the engagement index, as a JSON "
        "list. A change needs `classpulse recompute --metric engagement_index`.",
    )
    engagement_full_rate: float = Field(
        0.5, gt=0, description="Interactions per student and minute that count as full engagement."
    )
    flush_max_rows: Positive = Field(60_000, description="Write to ClickHouse once so many records wait.")
    flush_interval_ms: Positive = Field(500, description="Write to ClickHouse once a record has waited so long.")
    cache_max_rows: Positive = Field(
        1_000_000, description="Events of open lessons held in memory; others are read back when needed."
    )
    fetch_max_bytes: Positive = Field(8_388_608, description="Largest fetch from one partition.")
    max_value_bytes: Positive = Field(1_048_576, description="A larger record is a dead letter.")
    max_ahead_seconds: Positive = Field(3_600, description="An event further ahead of its record is a dead letter.")
    earliest_time: datetime = Field(
        datetime(2020, 1, 1, tzinfo=UTC), description="An earlier event is a dead letter: the clock is wrong."
    )
    out_of_orderness_seconds: int = Field(60, ge=0, description="The watermark trails the latest event by this.")
    idle_seconds: Positive = Field(120, description="After this without a record the watermark follows the clock.")
    session_timeout_seconds: float = Field(10.0, gt=0, description="Kafka gives a silent worker's partitions away.")
    max_poll_interval_seconds: float = Field(
        300.0, gt=0, description="A worker that takes no records for so long, as ClickHouse is away, leaves the group."
    )
    breaker_share: float = Field(
        0.5, ge=0, le=1, description="Refused share of a partition's recent records that holds its offsets; 0: never."
    )
    shutdown_seconds: float = Field(20.0, gt=0, description="Budget for an orderly stop.")
    web_host: str = Field("127.0.0.1", description="Address of /metrics, /healthz and /readyz.")
    web_port: int = Field(9464, ge=0, le=65_535, description="Port of /metrics, /healthz and /readyz; 0: any free.")
    worker_name: str = Field(
        default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}", description="Name in checkpoints and logs."
    )

    @field_validator("time_zone")
    @classmethod
    def _known_time_zone(cls, name: str) -> str:
        return FigureRules(time_zone=name).time_zone

    @field_validator("engagement_weights")
    @classmethod
    def _sound_weights(cls, weights: tuple[float, ...]) -> tuple[float, ...]:
        return FigureRules(engagement_weights=weights).engagement_weights

    @model_validator(mode="after")
    def _aware(self) -> Self:
        if self.earliest_time.tzinfo is None:
            raise ValueError("earliest_time needs a zone, such as 2020-01-01T00:00:00Z")
        return self

    @model_validator(mode="after")
    def _credentials(self) -> Self:
        if self.kafka_security.startswith("SASL"):
            for name, value in (("USER", self.kafka_user), ("PASSWORD", self.kafka_password.get_secret_value())):
                if not value:
                    raise ValueError(f"{PREFIX}KAFKA_SECURITY={self.kafka_security} needs {PREFIX}KAFKA_{name}")
        return self

    @property
    def figure_rules(self) -> FigureRules:
        """What the figures are computed by; raises ``ValueError`` for what cannot be."""
        return FigureRules(self.time_zone, self.engagement_weights, self.engagement_full_rate)

    @property
    def kafka_access(self) -> KafkaAccess:
        """How to reach Kafka, and as whom."""
        return KafkaAccess(
            self.kafka,
            self.kafka_security,
            self.kafka_mechanism,
            self.kafka_user,
            # A file of a secret often ends with a line's end, which no password does.
            self.kafka_password.get_secret_value().rstrip("\r\n"),
            self.kafka_ca_file,
        )

    @property
    def clickhouse(self) -> Target:
        """Where the sinks write."""
        return Target(
            self.clickhouse_url,
            self.clickhouse_user,
            self.clickhouse_password.get_secret_value(),
            self.clickhouse_database,
            self.clickhouse_timeout_seconds,
        )

    def pseudonym_key_bytes(self) -> bytes:
        """Return the key; raises :class:`MustStop` if it is missing or short."""
        key = self.pseudonym_key.get_secret_value().encode()
        if len(key) < 16:
            raise MustStop(
                "CLASSPULSE_PSEUDONYM_KEY is missing or shorter than 16 bytes",
                "Set it to a secret that never changes, for example the output of `openssl rand -hex 32`",
            )
        return key


def load(**overrides: object) -> Settings:
    """Read the settings; raises :class:`MustStop` that names the variable and what is wrong with it."""
    folder = os.environ.get(PREFIX + "SECRETS_DIR")
    secrets = Path(folder) if folder else None
    if secrets is not None and not secrets.is_dir():
        raise MustStop(f"{PREFIX}SECRETS_DIR names {folder}, which is no folder", "Mount the secrets there")
    try:
        return Settings(_secrets_dir=secrets, **overrides)  # type: ignore[arg-type, call-arg]
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = PREFIX + "_".join(str(part) for part in first["loc"]).upper() + ": "
        # What concerns several settings names them itself.
        message = f"{name if first['loc'] else ''}{first['msg'].removeprefix('Value error, ')}"
        raise MustStop(message, "Correct it; docs/settings.md lists every setting") from None


def load_for_admin(user: str | None, password_env: str) -> Settings:
    """Read the settings for a command that needs another ClickHouse user than the worker's."""
    overrides: dict[str, object] = {}
    if user is not None:
        overrides["clickhouse_user"] = user
    if password_env in os.environ:
        overrides["clickhouse_password"] = os.environ[password_env]
    return load(**overrides)
