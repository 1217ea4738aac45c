"""What people touch: settings, the command line, the web pages, the declared topics."""

import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from schemas.errors import MustStop
from schemas.events.event_types import FAMILIES
from streams import settings
from streams.cli.program import cli, commands
from streams.kafka.fetch.batches import Fetched
from streams.kafka.topics import DEAD_LETTER_TOPIC, declared
from streams.kafka.transport import EVENT_TOPICS, BatchScheduler, RecordBatch
from streams.output.numbers import fixed, significant
from streams.pipeline.telemetry import Telemetry
from streams.web.server import Health, WebServer
from tests.integration.streams.test_pipeline import Record


def test_a_bad_setting_is_named_with_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the variable; a secret never shows."""
    monkeypatch.setenv("CLASSPULSE_FLUSH_MAX_ROWS", "many")
    monkeypatch.setenv("CLASSPULSE_CLICKHOUSE_PASSWORD", "hidden-password")
    with pytest.raises(MustStop, match="CLASSPULSE_FLUSH_MAX_ROWS") as caught:
        settings.load()
    assert "hidden-password" not in str(caught.value)


def test_the_earliest_time_keeps_all_times_within_the_databases_dates(monkeypatch: pytest.MonkeyPatch) -> None:
    """A year and a day before it, where other times of an event may lie, must not be before 1970."""
    monkeypatch.setenv("CLASSPULSE_EARLIEST_TIME", "1972-01-01T08:00:00+08:00")
    assert settings.load().clock_limits.earliest_us == 63_072_000_000_000
    monkeypatch.setenv("CLASSPULSE_EARLIEST_TIME", "1971-12-31T23:59:59Z")
    with pytest.raises(MustStop, match="CLASSPULSE_EARLIEST_TIME: give a time from 1972 to 2100"):
        settings.load()


def test_secrets_never_print(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the password nor the pseudonym key is in the text form of the settings."""
    monkeypatch.setenv("CLASSPULSE_CLICKHOUSE_PASSWORD", "hidden-password")
    monkeypatch.setenv("CLASSPULSE_PSEUDONYM_KEY", "hidden-pseudonym-key")
    assert "hidden" not in repr(settings.load())


def test_a_secret_can_be_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file in the secrets folder sets the setting of its name."""
    (tmp_path / "classpulse_pseudonym_key").write_text("0123456789abcdef")
    monkeypatch.setenv("CLASSPULSE_SECRETS_DIR", str(tmp_path))
    assert settings.load().pseudonym_key_bytes() == b"0123456789abcdef"


def test_an_absent_secrets_folder_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that is not mounted must not silently mean empty passwords."""
    monkeypatch.setenv("CLASSPULSE_SECRETS_DIR", "/no/such/folder")
    with pytest.raises(MustStop, match="SECRETS_DIR"):
        settings.load()


@pytest.mark.parametrize("zone", ["Chongqing", "../etc/passwd", ""])
def test_a_time_zone_must_exist(monkeypatch: pytest.MonkeyPatch, zone: str) -> None:
    """Days and weeks need a zone of the IANA database."""
    monkeypatch.setenv("CLASSPULSE_TIME_ZONE", zone)
    with pytest.raises(MustStop, match="CLASSPULSE_TIME_ZONE"):
        settings.load()


@pytest.mark.parametrize("command", commands())
def test_every_command_explains_itself(command: str) -> None:
    """`classpulse COMMAND --help` loads the command and says what it does."""
    shown = CliRunner().invoke(cli, [command, "--help"])
    assert shown.exit_code == 0, shown.output
    assert len(shown.output.splitlines()) > 5


def test_help_answers_at_once_without_loading_the_engines() -> None:
    """The overview imports neither Faust nor Polars."""
    code = "import sys, streams.cli.program; sys.exit(bool({'faust', 'polars', 'clickhouse_connect'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_error_a_person_can_mend_is_one_line() -> None:
    """Without ClickHouse, `migrate` says so in a line and ends with 2."""
    done = subprocess.run(
        [sys.executable, "-m", "streams", "migrate"],
        env={"PATH": "/usr/bin", "CLASSPULSE_CLICKHOUSE_URL": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("classpulse: Could not connect to ClickHouse")
    assert "Traceback" not in done.stderr


def test_the_pages_tell_health_from_trouble() -> None:
    """`/readyz` is 200 without problems and 503 with the problem's sentence; `/metrics` speaks Prometheus."""
    problems: list[str] = []
    server = WebServer("127.0.0.1", 0, Telemetry().registry, Health, lambda: Health(tuple(problems)))
    server.start()
    try:
        base = f"http://127.0.0.1:{server.port}"
        assert urllib.request.urlopen(f"{base}/readyz", timeout=5).read() == b"ok\n"
        problems.append("waiting for ClickHouse")
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{base}/readyz", timeout=5)
        assert caught.value.code == 503
        assert caught.value.read() == b"waiting for ClickHouse\n"
        assert urllib.request.urlopen(f"{base}/healthz", timeout=5).status == 200
        assert b"# TYPE classpulse_flush_records histogram" in urllib.request.urlopen(f"{base}/metrics", timeout=5).read()
    finally:
        server.stop()


def test_a_taken_port_names_the_setting() -> None:
    """Two workers on one port: the second says which setting to change."""
    first = WebServer("127.0.0.1", 0, Telemetry().registry, Health, Health)
    first.start()
    second = WebServer("127.0.0.1", first.port, Telemetry().registry, Health, Health)
    try:
        with pytest.raises(MustStop, match="CLASSPULSE_WEB_PORT"):
            second.start()
    finally:
        first.stop()


def test_every_topic_is_declared() -> None:
    """The declaration has each family's topic and the dead letters; compacted is the registry alone."""
    topics = {topic.name: topic for topic in declared()}
    assert set(topics) == {family.topic for family in FAMILIES} | {DEAD_LETTER_TOPIC}
    compacted = [name for name, topic in topics.items() if topic.config["cleanup.policy"] == "compact"]
    assert compacted == ["classpulse.registry"]


def test_the_scheduler_hands_on_one_batch_a_partition() -> None:
    """What a fetch covers of an event topic becomes one message at its first offset; other topics pass through."""
    from faust.types import TP

    event_topic = min(EVENT_TOPICS)
    records = {
        TP(event_topic, 1): Fetched([Record(7, b"x"), Record(8, b"y")], 6, 10),
        TP("other", 0): [Record(1, b"z")],
        TP(event_topic, 2): Fetched([], 3, 3),
    }
    found = list(BatchScheduler().iterate(records))  # type: ignore[abstract]  # Faust declares __init__ abstract
    batches = [message for _tp, message in found if isinstance(message, RecordBatch)]
    assert [(batch.partition, batch.start, batch.next_offset, len(batch.records)) for batch in batches] == [(1, 6, 10, 2)]
    assert [message for tp, message in found if tp.topic == "other"] == [Record(1, b"z")]


def test_a_stage_is_timed() -> None:
    """The duration of a stage reaches its histogram, also when it fails."""
    telemetry = Telemetry()
    with pytest.raises(MustStop), telemetry.stage("fold"):
        raise MustStop("it failed", "mend it")
    assert telemetry.registry.get_sample_value("classpulse_stage_seconds_count", {"stage": "fold"}) == 1


def _helps(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from _helps(below, click.Context(below, info_name=name, parent=context))


def test_no_help_shows_its_own_markup() -> None:
    """Every command's help is for people: no marks of click, of docstrings or of reStructuredText."""
    helps = dict(_helps(cli, click.Context(cli, info_name="classpulse")))
    assert len(helps) > len(commands())
    marked = [path for path, text in helps.items() if re.search(r"\\b|[\x00-\x08]|``|:class:", text)]
    assert marked == []


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (-0.0, "0"),
        (-0.004, "-0.004"),
        (-4e-9, "0"),
        (0.00001234, "0.000012"),
        (999.9, "1,000"),
        (99.96, "100"),
        (0.48765, "0.488"),
        (1234.5, "1,234"),
        (1e15, "1,000,000,000,000,000"),
        (12, "12"),
        (120.0, "120"),
    ],
)
def test_numbers_are_written_for_people(value: float, shown: str) -> None:
    """Three significant digits, never an exponent, never a minus before zero."""
    assert significant(value, 3) == shown
    assert fixed(-0.0004, 1) == "0.0"
