"""The settings: few, typed, checked at start. This is the only module that reads the environment.

Every setting is an environment variable ``CLASSPULSE_<NAME>``. A secret may also be a file of that name, in lower case,
in the folder that ``CLASSPULSE_SECRETS_DIR`` names (``/run/secrets`` under Compose and Kubernetes).
"""

import os
import re
import socket
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from schemas.codec.records import ClockLimits
from schemas.errors import MustStop
from schemas.metrics.rules import MetricRules
from sinks.clickhouse.client import Target
from streams.kafka.access import KafkaAccess, Mechanism, Security
from streams.output.logs import LogFormat
from streams.setting_types import (
    ClickHouseUrl,
    Database,
    Key,
    Milliseconds,
    Name,
    Positive,
    Rate,
    Seconds,
    Secret,
    Servers,
    Text,
    Time,
    Weights,
)

PREFIX: Final = "CLASSPULSE_"
#: What else begins with the prefix: where the secrets are, and what only the tests and their machine look at.
OTHER_VARIABLES: Final = frozenset(
    PREFIX + name
    for name in (
        "SECRETS_DIR",
        "REQUIRE_APACHE",
        "TEST_PARTITIONS",
        "TEST_AWAY_SECONDS",
        "PROTOCOL_EXAMPLES",
        "PROTOCOL_STEPS",
    )
)
#: What Kubernetes sets in each container for a service whose name begins with classpulse.
_SERVICE_LINK: Final = re.compile(r"_SERVICE_(HOST|PORT(_\w+)?)$|_PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$")
_SERVICE_URL: Final = re.compile(r"(tcp|udp|sctp)://")
LARGEST_FILE_BYTES: Final = 65_536
LONGEST_VALUE_CHARACTERS: Final = 100


class Settings(BaseSettings):
    """Everything that can be set; ``docs/settings.md`` is generated from here."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="ignore", frozen=True, allow_inf_nan=False, hide_input_in_errors=True
    )

    kafka: Servers = Field("127.0.0.1:9092", description="Bootstrap servers of Kafka, `host:port`, comma-separated.")
    kafka_security: Security = Field(
        "PLAINTEXT",
        description="Security protocol of the connection to Kafka. SSL encrypts; SASL needs a user name and a password.",
    )
    kafka_mechanism: Mechanism = Field("SCRAM-SHA-512", description="SASL mechanism.")
    kafka_user: Text = Field("", description="SASL user name.", validate_default=True)
    kafka_password: Secret = Field(SecretStr(""), description="Secret: SASL password.", validate_default=True)
    kafka_ca_file: Text = Field(
        "",
        description="PEM file with the authorities that sign Kafka's certificates; without it those of the system count.",
    )
    group: Name = Field("classpulse", description="Consumer group; all workers of one group share the partitions.")
    leave_group: bool = Field(
        default=True,
        description="Whether a worker leaves the consumer group at once when it stops. If false, its partitions are "
        "assigned to others after the session timeout. The embedded broker needs false.",
    )
    clickhouse_url: ClickHouseUrl = Field(
        "http://127.0.0.1:8123",
        description="URL of ClickHouse's HTTP interface: scheme, host, port (default 8123, with https 8443), and the path "
        "under which a proxy serves it, if any.",
    )
    clickhouse_user: Name = Field("classpulse_worker", description="ClickHouse user name.")
    clickhouse_password: Secret = Field(SecretStr(""), description="Secret: password of the ClickHouse user.")
    clickhouse_database: Database = Field("classpulse", description="ClickHouse database.")
    clickhouse_timeout_seconds: Seconds = Field(
        30.0, description="Timeout of a call to ClickHouse; a call that times out is repeated."
    )
    pseudonym_key: Key = Field(
        SecretStr(""),
        description="Secret of at least 16 bytes: key of the hash that replaces the ids of students. Never change it.",
    )
    time_zone: str = Field("Asia/Shanghai", description="Time zone in which the district's days and weeks begin.")
    engagement_weights: Weights = Field(
        (0.25, 0.25, 0.25, 0.25),
        description="Weights of response rate, breadth, evenness and interaction rate in the engagement index. After a "
        "change run `classpulse recompute --metric engagement_index`.",
    )
    engagement_full_rate: Rate = Field(
        0.5, description="Number of interactions per student and minute that counts as full engagement."
    )
    flush_max_rows: Positive = Field(60_000, description="Write to ClickHouse as soon as this many records are waiting.")
    flush_interval_ms: Milliseconds = Field(
        500, description="Write to ClickHouse as soon as the oldest waiting record has waited this long."
    )
    cache_max_rows: Positive = Field(
        1_000_000,
        description="Most stored events of open lessons, teachers and activities kept in memory, for each event family. "
        "Others are read back from ClickHouse when they are needed.",
    )
    fetch_max_bytes: Positive = Field(8_388_608, description="Most bytes that one fetch takes from one topic partition.")
    max_value_bytes: Positive = Field(1_048_576, description="Largest value of a record; a larger one is rejected.")
    max_ahead_seconds: Positive = Field(
        3_600, description="How far an event's time may lie after its record's timestamp; beyond that it is rejected."
    )
    earliest_time: Time = Field(
        datetime(2020, 1, 1, tzinfo=UTC),
        description="Earliest time of an event; an earlier one is rejected, because the device's clock is wrong. At least "
        "1972-01-01.",
    )
    out_of_orderness_seconds: int = Field(
        60, ge=0, le=2**31 - 1, description="How far the watermark stays behind the latest event time seen."
    )
    idle_seconds: Positive = Field(
        120, description="After this time without a record, a partition's watermark follows the clock."
    )
    session_timeout_seconds: Seconds = Field(
        10.0, description="After this time without a heartbeat, Kafka assigns a worker's partitions to others."
    )
    max_poll_interval_seconds: Seconds = Field(
        300.0,
        description="A worker that fetches no records for this long, for example while ClickHouse is unavailable, leaves "
        "the consumer group; it joins again afterwards.",
    )
    breaker_share: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Share of rejected records among a partition's recent ones at which the partition is paused; 0: never.",
    )
    shutdown_seconds: Seconds = Field(20.0, description="Time limit of an orderly stop.")
    web_host: Name = Field("127.0.0.1", description="Address on which /metrics, /healthz and /readyz are served.")
    web_port: int = Field(
        9464, ge=0, le=65_535, description="Port on which /metrics, /healthz and /readyz are served; 0: any free port."
    )
    log_format: LogFormat = Field("text", description="Log format: text for people, or json, one object a line.")
    worker_name: Name = Field(
        default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}",
        description="Name of the worker in checkpoints and logs.",
    )

    @field_validator("time_zone")
    @classmethod
    def _known_time_zone(cls, name: str) -> str:
        return MetricRules(time_zone=name).time_zone

    @field_validator("engagement_weights")
    @classmethod
    def _sound_weights(cls, weights: tuple[float, ...]) -> tuple[float, ...]:
        return MetricRules(engagement_weights=weights).engagement_weights

    @field_validator("kafka_user", "kafka_password")
    @classmethod
    def _complete(cls, value: str | SecretStr, info: ValidationInfo) -> str | SecretStr:
        security = info.data.get("kafka_security", "")
        if security.startswith("SASL") and not (value if isinstance(value, str) else value.get_secret_value()):
            raise ValueError(f"{PREFIX}KAFKA_SECURITY={security} needs {variable(info.field_name or '')}")
        return value

    @property
    def clock_limits(self) -> ClockLimits:
        """How far an event's time may lie from the present."""
        since_epoch = self.earliest_time - datetime(1970, 1, 1, tzinfo=UTC)
        return ClockLimits(since_epoch // timedelta(microseconds=1), self.max_ahead_seconds * 1_000_000)

    @property
    def metric_rules(self) -> MetricRules:
        """What the metrics are computed by; raises ``ValueError`` for what cannot be."""
        return MetricRules(self.time_zone, self.engagement_weights, self.engagement_full_rate)

    @property
    def secrets(self) -> list[str]:
        """Every secret, to keep it out of what is logged."""
        values = (getattr(self, name) for name in type(self).model_fields)
        return [value.get_secret_value().strip() for value in values if isinstance(value, SecretStr)]

    @property
    def kafka_access(self) -> KafkaAccess:
        """How to reach Kafka, and as whom."""
        return KafkaAccess(
            self.kafka,
            self.kafka_security,
            self.kafka_mechanism,
            self.kafka_user,
            self.kafka_password.get_secret_value(),
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
        """Return the key; raises :class:`MustStop` if there is none."""
        key = self.pseudonym_key.get_secret_value().encode()
        if not key:
            raise MustStop(
                f"{variable('pseudonym_key')} is missing",
                "Set it to a secret that never changes, for example the output of `openssl rand -hex 32`",
            )
        return key


def variable(field: str) -> str:
    """Return the environment variable of a setting."""
    return PREFIX + field.upper()


def load(given_as: Mapping[str, str] | None = None, **overrides: object) -> Settings:
    """Read the settings; raises :class:`MustStop` that names every variable that is wrong, and what is wrong with it.

    ``overrides`` come from a command's options; ``given_as`` says which option a setting came from, to name that instead.
    """
    names = {variable(field): option for field, option in (given_as or {}).items()}
    found, wrong = _from_files()
    wrong |= {name: _unknown(name) for name in _unknown_variables() - set(re.findall(r"\w+", " ".join(names.values())))}
    settings = None
    try:
        # What a file holds counts where neither an option nor a variable says anything else.
        settings = Settings(**{**found, **overrides})  # type: ignore[arg-type]
    except ValidationError as error:
        for one in reversed(error.errors(include_url=False)):
            field = str(one["loc"][0])
            wrong[variable(field)] = _sentence(field, one["msg"], one["input"])
    if settings is not None and not wrong:
        return settings
    lines = [
        reason if reason.startswith(PREFIX) else f"{names.get(name, name)}: {reason}"
        for name, reason in sorted(wrong.items())
    ]
    raise MustStop("\n".join(lines), "Correct it; docs/settings.md lists every setting")


def load_for_admin(user: str | None, password_env: str) -> Settings:
    """Read the settings for a command that needs another ClickHouse user than the worker's.

    Raises :class:`MustStop` as :func:`load`, and where ``password_env`` names a variable that is not set.
    """
    overrides: dict[str, object] = {}
    if user is not None:
        overrides["clickhouse_user"] = user
    if password_env in os.environ:
        overrides["clickhouse_password"] = os.environ[password_env]
    elif password_env != variable("clickhouse_password"):
        raise MustStop(f"--password-env names {password_env}, which is not set", "Set that variable to the user's password")
    return load({"clickhouse_user": "--user", "clickhouse_password": password_env}, **overrides)


def _sentence(field: str, reason: str, value: object) -> str:
    reason = reason.removeprefix("Value error, ")
    is_secret = Settings.model_fields[field].annotation is SecretStr or "@" in str(value)
    if is_secret or not isinstance(value, str) or reason.startswith(PREFIX):
        return reason
    return f"{reason} (it is {value[:LONGEST_VALUE_CHARACTERS]!a})"


def _from_files() -> tuple[dict[str, object], dict[str, str]]:
    """Return the settings that are files of ``CLASSPULSE_SECRETS_DIR``, and what is wrong, by variable."""
    folder = os.environ.get(PREFIX + "SECRETS_DIR")
    if not folder:
        return {}, {}
    if not Path(folder).is_dir():
        return {}, {PREFIX + "SECRETS_DIR": f"{folder!a} is no folder; mount the secrets there"}
    variables = {name.upper() for name in os.environ}
    found: dict[str, object] = {}
    wrong: dict[str, str] = {}
    for field in Settings.model_fields:
        file = Path(folder, variable(field).lower())
        if variable(field) in variables or not file.exists():
            continue
        try:
            with file.open("rb") as opened:
                content = opened.read(LARGEST_FILE_BYTES + 1)
            text = content.decode()
        except OSError as error:
            wrong[variable(field)] = f"its file {str(file)!a} cannot be read: {error.strerror}"
        except UnicodeDecodeError:
            wrong[variable(field)] = f"its file {str(file)!a} is no UTF-8"
        else:
            if len(content) > LARGEST_FILE_BYTES:
                wrong[variable(field)] = f"its file {str(file)!a} is larger than {LARGEST_FILE_BYTES:,} bytes"
            found[field] = text.rstrip("\r\n")
    return found, wrong


def _unknown_variables() -> set[str]:
    known = OTHER_VARIABLES | set(map(variable, Settings.model_fields))
    return {
        name
        for name, value in os.environ.items()
        if name.upper().startswith(PREFIX) and name.upper() not in known
        if not _SERVICE_LINK.search(name) and not _SERVICE_URL.match(value)
    }


def _unknown(name: str) -> str:
    known = [*map(variable, Settings.model_fields), PREFIX + "SECRETS_DIR"]
    near = get_close_matches(name.upper(), known, n=1, cutoff=0.0)
    return f"there is no such setting; the nearest is {near[0]}. Correct the name, or unset it"
