"""How the clients are told to connect, and what is rejected before they try."""

import ssl
from pathlib import Path

import pytest
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from schemas.errors import MustStop
from streams import settings
from streams.kafka import acls as kafka_acls
from streams.kafka import topics
from streams.kafka.access import KafkaAccess, Mechanism, Security
from streams.kafka.faust_credentials import credentials

SECRET = "never-printed"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without settings of its own."""
    for name in settings.Settings.model_fields:
        monkeypatch.delenv(f"CLASSPULSE_{name.upper()}", raising=False)


def test_the_default_is_what_it_was_before_there_were_users() -> None:
    """Without settings the connection is plain, and Faust gets no credentials."""
    access = settings.load().kafka_access
    assert access == KafkaAccess("127.0.0.1:9092")
    assert access.client_options() == {
        "bootstrap_servers": "127.0.0.1:9092",
        "security_protocol": "PLAINTEXT",
        "ssl_context": None,
    }
    assert credentials(access) is None


@pytest.mark.parametrize("missing", ["USER", "PASSWORD"])
def test_sasl_without_user_or_password_is_rejected(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the variable that is missing, and no secret."""
    for name, value in {"SECURITY": "SASL_SSL", "USER": "somebody", "PASSWORD": SECRET}.items():
        monkeypatch.setenv(f"CLASSPULSE_KAFKA_{name}", "" if name == missing else value)
    with pytest.raises(MustStop, match=rf"^CLASSPULSE_KAFKA_SECURITY=SASL_SSL needs CLASSPULSE_KAFKA_{missing}\.") as found:
        settings.load()
    assert SECRET not in str(found.value)


def test_password_comes_from_a_file_and_is_in_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret's file may end with a line's end; neither settings nor access show what is in it."""
    (tmp_path / "classpulse_kafka_password").write_text(SECRET + "\n")
    monkeypatch.setenv("CLASSPULSE_SECRETS_DIR", str(tmp_path))
    monkeypatch.setenv("CLASSPULSE_KAFKA_SECURITY", "SASL_PLAINTEXT")
    monkeypatch.setenv("CLASSPULSE_KAFKA_USER", "classpulse_worker")
    loaded = settings.load()
    assert loaded.kafka_access.client_options()["sasl_plain_password"] == SECRET
    assert SECRET not in f"{loaded!r} {loaded.kafka_access!r} {credentials(loaded.kafka_access)!r}"


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"])
@pytest.mark.parametrize("security", ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"])
def test_faust_hands_aiokafka_what_our_own_clients_get(security: Security, mechanism: Mechanism) -> None:
    """Protocol, mechanism, user, password and a TLS context that checks names reach the consumer through Faust."""
    access = KafkaAccess("kafka:9093", security, mechanism, "somebody", SECRET)
    ours = access.client_options()
    through_faust = dict(credentials_to_aiokafka_auth(credentials(access)))
    assert (ours["ssl_context"] is not None) == security.endswith("SSL")
    for options in (ours, through_faust):
        if (context := options.pop("ssl_context", None)) is not None:
            assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)
    assert ours == {"bootstrap_servers": "kafka:9093", **through_faust}


def test_unreadable_authorities_are_named() -> None:
    """A CA file that is not there is an error with the variable, not a traceback of the TLS library."""
    with pytest.raises(MustStop, match=r"no-such\.pem.*CLASSPULSE_KAFKA_CA_FILE"):
        KafkaAccess("kafka:9093", "SSL", ca_file="no-such.pem").client_options()


def test_every_right_is_for_a_topic_that_exists() -> None:
    """streams/kafka/acls.yaml and topics.yaml speak of the same topics, and of the settings' own group."""
    topic, group, literal = 2, 3, 3
    rights = kafka_acls.declared()
    named = {right.resource for right in rights if (right.resource_type, right.pattern_type) == (topic, literal)}
    assert named == {found.name for found in topics.declared()}
    assert {right.resource for right in rights if right.resource_type == group} == {settings.load().group}


def test_no_lasting_user_may_do_more_than_its_work() -> None:
    """Devices only write events; workers write nothing but dead letters; nobody but the administrator creates."""
    events = {found.name for found in topics.declared()} - {topics.DEAD_LETTER_TOPIC}
    may = {(right.user, right.operation, right.resource) for right in kafka_acls.declared()}
    assert {(operation, what) for user, operation, what in may if user == "classpulse_device"} == {
        (operation, topic) for operation in ("WRITE", "DESCRIBE") for topic in events
    }
    assert {what for user, operation, what in may if (user, operation) == ("classpulse_worker", "WRITE")} == {
        topics.DEAD_LETTER_TOPIC
    }
    assert {user for user, operation, _what in may if operation in {"CREATE", "ALTER"}} == {"classpulse_admin"}
