"""How every Kafka client of the product connects: where to, how it is protected, and as whom."""

import asyncio
import re
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from aiokafka.client import AIOKafkaClient
from aiokafka.conn import create_conn
from aiokafka.errors import IllegalSaslStateError, KafkaError, SaslAuthenticationFailed, UnsupportedSaslMechanismError

from schemas.errors import MustStop

Security = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
Mechanism = Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]
DEFAULT_PORT: Final = 9092
CHECK_SECONDS: Final = 5.0
_SERVER: Final = re.compile(r"(?:\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::(?P<port>[0-9]{1,5}))?")
#: TLS says goodbye after a connection is closed; a loop that ends before leaves sockets behind.
GOODBYE_SECONDS: Final = 0.1


def servers(bootstrap: str) -> list[tuple[str, int]]:
    """Return host and port of each comma-separated server; raises ``ValueError`` that says how they are written."""
    found = []
    for server in bootstrap.split(","):
        match = _SERVER.fullmatch(server.strip())
        port = int(match["port"] or DEFAULT_PORT) if match else 0
        if match is None or not 0 < port <= 65_535 or not _is_name(match["name"] or ""):
            raise ValueError("give servers as HOST:PORT, comma-separated, such as 127.0.0.1:9092")
        found.append((match["name"] or match["address"], port))
    return found


def _is_name(host: str) -> bool:
    """Whether the resolver takes it; it raises an error of its own for an empty or a long label."""
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class KafkaAccess:
    """``bootstrap`` is comma-separated. ``ca_file`` is a PEM file; empty: the system's authorities."""

    bootstrap: str
    security: Security = "PLAINTEXT"
    mechanism: Mechanism = "SCRAM-SHA-512"
    user: str = ""
    password: str = field(default="", repr=False)
    ca_file: str = ""

    @property
    def uses_sasl(self) -> bool:
        """Whether a user and a password are sent."""
        return self.security.startswith("SASL")

    def client_options(self) -> dict[str, Any]:
        """Return what every aiokafka client is made with; it holds the password.

        Raises :class:`MustStop` when the file of authorities cannot be read.
        """
        return {"bootstrap_servers": self.bootstrap, **self._protection()}

    def _protection(self) -> dict[str, Any]:
        options: dict[str, Any] = {"security_protocol": self.security, "ssl_context": self.ssl_context()}
        if self.uses_sasl:
            options |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.user,
                "sasl_plain_password": self.password,
            }
        return options

    def ssl_context(self) -> ssl.SSLContext | None:
        """Return how TLS checks the broker: its certificate and its name; None without TLS."""
        if not self.security.endswith("SSL"):
            return None
        try:
            return ssl.create_default_context(cafile=self.ca_file or None)
        except (OSError, ssl.SSLError) as error:
            raise MustStop(
                f"The certificate authorities of Kafka cannot be read from {self.ca_file!r}: {error}",
                "Let CLASSPULSE_KAFKA_CA_FILE name a readable PEM file",
            ) from error

    async def require(self) -> None:
        """As :meth:`check`, for a command that does not wait: raises :class:`MustStop` also when no broker answers."""
        if not (await self.check() and await self.answers()):
            remedy = "Start it, or correct CLASSPULSE_KAFKA (or --bootstrap), which says where it is"
            raise MustStop(f"No Kafka answers at {self.bootstrap}", remedy)

    async def check(self) -> bool:
        """Connect once, and return whether a broker let us in.

        Raises :class:`MustStop` when a broker answers and rejects these credentials.

        A broker that does not answer is no error here: whoever needs it waits for it, or says so. aiokafka's clients tell
        a rejected password from an absent broker only in their log.
        """
        options = self._protection()
        for host, port in servers(self.bootstrap):
            server = f"{host}:{port}"
            try:
                connection = await create_conn(
                    host,
                    port,
                    client_id="classpulse-check",
                    request_timeout_ms=int(CHECK_SECONDS * 1000),
                    **options,
                )
            except (SaslAuthenticationFailed, UnsupportedSaslMechanismError, IllegalSaslStateError, ssl.SSLError) as error:
                raise self._rejected(server, error) from None
            except (KafkaError, OSError, TimeoutError):
                continue
            with suppress(TimeoutError):
                await asyncio.wait_for(connection.close(), CHECK_SECONDS)
            return True
        return False

    async def answers(self) -> bool:
        """Return whether a broker describes itself: one that stands still accepts connections all the same."""
        client = AIOKafkaClient(
            **self.client_options(), client_id="classpulse-check", request_timeout_ms=int(CHECK_SECONDS * 1000)
        )
        try:
            await client.bootstrap()
        except KafkaError:
            return False
        finally:
            await client.close()
            if self.security.endswith("SSL"):
                await asyncio.sleep(GOODBYE_SECONDS)
        return True

    def _rejected(self, server: str, error: Exception) -> MustStop:
        match error:
            case SaslAuthenticationFailed():
                return MustStop(
                    f"Kafka at {server} rejects the user {self.user}: the password is wrong, or the user is unknown",
                    "Correct CLASSPULSE_KAFKA_PASSWORD (and CLASSPULSE_KAFKA_USER, if that is the wrong one)",
                )
            case UnsupportedSaslMechanismError():
                return MustStop(
                    f"Kafka at {server} does not let users in by {self.mechanism}",
                    "Set CLASSPULSE_KAFKA_MECHANISM to one that the broker's sasl.enabled.mechanisms names",
                )
            case ssl.SSLError():
                return MustStop(
                    f"No TLS connection to Kafka at {server}: {error}",
                    "Let CLASSPULSE_KAFKA_CA_FILE name the authority that signed the broker's certificate, reach the "
                    "broker by a name that is in the certificate, and check CLASSPULSE_KAFKA_SECURITY",
                )
            case _:
                return MustStop(
                    f"Kafka at {server} knows no users on this port",
                    "Correct CLASSPULSE_KAFKA_SECURITY, or the port in CLASSPULSE_KAFKA",
                )
