"""Every setting, wrong in every way, is named with what is wrong; secrets count alike wherever they come from."""

from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from schemas.errors import MustStop
from streams import settings
from streams.settings import Settings, load, variable

KEY: Final = "0123456789abcdef"
SECRETS: Final = [name for name, info in Settings.model_fields.items() if info.annotation is SecretStr]
NUMBERS: Final = [name for name, info in Settings.model_fields.items() if info.annotation in {int, float}]
#: For every setting what is wrong whatever its type: characters that do not show, and bytes that are no UTF-8.
BAD_TEXTS: Final = ("\x1b[31m", "a\x00b".replace("\x00", "\x07"), "\udcff", "a\nb", "\u202eabc")
WRONG: Final = {
    **dict.fromkeys(NUMBERS, ("x", "", "nan", "inf", "-inf", "-1", "1e400", "1,5", "9" * 40, "0x10")),
    **dict.fromkeys(SECRETS, (" " + KEY, KEY + " ", KEY + "\u3000", "\t" + KEY, f"{KEY}\n{KEY}", KEY + "\x7f")),
    "pseudonym_key": ("short", "短" * 5, "           \n"),
    "kafka": ("", ",", "a,", "host:port", "host:0", "host:65536", "kafka://a:1", "u:p@h:1", "[::1", "a..b:1", "a b"),
    "kafka_security": ("", "ssl", "TLS"),
    "kafka_mechanism": ("", "PLAINTEXT"),
    "group": ("", " ", "a "),
    "clickhouse_url": (
        "",
        "localhost:8123",
        "localhost",
        "tcp://h:9000",
        "clickhouse://h",
        "http://",
        "http:///path",
        "http://h:x",
        "http://h:0",
        "http://h:99999",
        "http://h?database=x",
        "http://h/?",
        "http://h#f",
        "http://[::1",
        "http://a b",
        "http://user@h",
        "http://h\\x",
        "http://%41",
        "http://a..b",
        "//h:8123",
        "http://h:8123/\n",
    ),
    "clickhouse_user": ("", " "),
    "clickhouse_database": ("", "a-b", "1a", "a.b", "x; DROP DATABASE y", "a" * 64),
    "time_zone": ("", "Chongqing", "../etc/passwd", "Asia", "UTC+8"),
    "engagement_weights": (
        "",
        "1",
        "1,2,3",
        "1,2,3,4,5",
        "a,b,c,d",
        "1,2,3,nan",
        "1,2,3,inf",
        "-1,1,1,1",
        "0,0,0,0",
        "[1,2,3]",
        "[1,2,3,4",
        "[1,2,3,NaN]",
        "[[1],2,3,4]",
        "{}",
        "1;2;3;4",
        "null",
        "[" * 10_000,
    ),
    "earliest_time": (
        "",
        "2020",
        "1577836800",
        "2020-01-01",
        "2020-01-01T00:00:00",
        "yesterday",
        "1969-12-31T23:59:59Z",
        "2100-01-02T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "2020-13-01T00:00:00Z",
        "-1",
        "nan",
    ),
    "web_host": ("",),
    "worker_name": ("",),
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without settings of its own."""
    for name in (*map(variable, Settings.model_fields), "CLASSPULSE_SECRETS_DIR"):
        monkeypatch.delenv(name, raising=False)


def rejection(**values: str) -> str:
    """Return what is said of settings that are wrong."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(name, value)
        with pytest.raises(MustStop) as caught:
            load()
    return str(caught.value)


@pytest.mark.parametrize("field", Settings.model_fields)
def test_every_wrong_value_is_named(field: str) -> None:
    """One printable line that begins with the variable, for each wrong value of each setting."""
    for value in (*WRONG.get(field, ()), *BAD_TEXTS):
        text = rejection(**{variable(field): value})
        assert text.startswith(variable(field)), value
        assert text.isprintable(), value


def test_all_wrong_settings_are_named_at_once() -> None:
    """Each has its line; so do those that are wrong only together with another one, and names that are none."""
    text = rejection(
        CLASSPULSE_WEB_PORT="x",
        CLASSPULSE_ENGAGEMENT_WEIGHTS="1",
        CLASSPULSE_KAFKA_SECURITY="SASL_SSL",
        CLASSPULSE_EARLIEST_TIME="2020-01-01",
        CLASSPULSE_FLUSH_ROWS="1",
    )
    assert [line.partition(":")[0] for line in text.splitlines()] == [
        "CLASSPULSE_EARLIEST_TIME",
        "CLASSPULSE_ENGAGEMENT_WEIGHTS",
        "CLASSPULSE_FLUSH_ROWS",
        "CLASSPULSE_KAFKA_SECURITY=SASL_SSL needs CLASSPULSE_KAFKA_PASSWORD",
        "CLASSPULSE_KAFKA_SECURITY=SASL_SSL needs CLASSPULSE_KAFKA_USER",
        "CLASSPULSE_WEB_PORT",
    ]


@pytest.mark.parametrize("field", [*SECRETS, "clickhouse_url", "kafka"])
def test_no_secret_is_in_an_error(field: str) -> None:
    """Neither a secret that is wrong nor a password inside an address is repeated."""
    assert "hidden" not in rejection(**{variable(field): "http://user:hidden@h\x01", "CLASSPULSE_WEB_PORT": "x"})


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("CLASSPULSE_TIMEZONE", "CLASSPULSE_TIME_ZONE"),
        ("CLASSPULSE_KAFAK", "CLASSPULSE_KAFKA"),
        ("classpulse_pseudonymkey", "CLASSPULSE_PSEUDONYM_KEY"),
        ("CLASSPULSE_SECRET_DIR", "CLASSPULSE_SECRETS_DIR"),
    ],
)
def test_a_misspelt_name_is_reported_with_the_nearest(name: str, nearest: str) -> None:
    """A variable that is no setting would silently leave the default."""
    text = rejection(**{name: "1"})
    assert text.startswith(f"{name}: there is no such setting; the nearest is {nearest}.")


def test_names_that_others_set_are_no_mistakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Kubernetes sets for a service called classpulse, what the tests look at, and a password's own variable."""
    others = {
        "CLASSPULSE_SERVICE_HOST": "10.0.0.1",
        "CLASSPULSE_SERVICE_PORT_HTTP": "9464",
        "CLASSPULSE_PORT": "tcp://10.0.0.1:1",
        "CLASSPULSE_WORKER_PORT_9464_TCP_ADDR": "10.0.0.1",
        "CLASSPULSE_PORT_9464_TCP": "tcp://10.0.0.1:9464",
    }
    for name, value in (others | dict.fromkeys(settings.OTHER_VARIABLES - {"CLASSPULSE_SECRETS_DIR"}, "1")).items():
        monkeypatch.setenv(name, value)
    load()
    monkeypatch.setenv("CLASSPULSE_ADMIN_PASSWORD", "of-admin\n")
    loaded = settings.load_for_admin("classpulse_admin", "CLASSPULSE_ADMIN_PASSWORD")
    assert (loaded.clickhouse_user, loaded.clickhouse.password) == ("classpulse_admin", "of-admin")


def test_a_password_variable_that_is_not_set_is_an_error() -> None:
    """The worker's password must not be tried in the place of one that was meant."""
    with pytest.raises(MustStop, match="--password-env names NO_SUCH_VARIABLE, which is not set"):
        settings.load_for_admin("classpulse_admin", "NO_SUCH_VARIABLE")


@pytest.mark.parametrize("text", ["0.4,0.3,0.2,0.1", "[0.4, 0.3, 0.2, 0.1]", " 0.4 , 0.3,0.2 ,.1 "])
def test_weights_are_read_in_both_ways(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Comma-separated or as a JSON list."""
    monkeypatch.setenv("CLASSPULSE_ENGAGEMENT_WEIGHTS", text)
    assert load().metric_rules.engagement_weights == (0.4, 0.3, 0.2, 0.1)


@pytest.mark.parametrize("source", ["file", "environment"])
@pytest.mark.parametrize("field", SECRETS)
@pytest.mark.parametrize("stored", ["{}", "{}\n", "{}\r\n", "{}\n\n", "\ufeff{}", "\ufeff{}\r\n"])
def test_a_secret_is_the_same_from_everywhere(
    field: str, stored: str, source: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Ends of lines and a byte order mark, which editors and shells add, do not make another secret."""
    secret = "a secret of 密 words"
    if source == "environment":
        monkeypatch.setenv(variable(field), stored.format(secret))
    else:
        (tmp_path / variable(field).lower()).write_bytes(stored.format(secret).encode())
        monkeypatch.setenv("CLASSPULSE_SECRETS_DIR", str(tmp_path))
    assert getattr(load(), field).get_secret_value() == secret


@given(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=16))
def test_any_other_secret_counts_as_it_is(secret: str) -> None:
    """No character of a secret is lost or changed."""
    assert Settings(pseudonym_key=SecretStr(secret)).pseudonym_key_bytes() == secret.encode()


@pytest.mark.parametrize("content", [b"\xff" * 16, b"x" * 70_000, f"{KEY} \n".encode(), None])
def test_a_secret_file_that_is_none_is_named(
    content: bytes | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No UTF-8, far too large, white space at its end, or a folder."""
    file = tmp_path / "classpulse_pseudonym_key"
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content)
    monkeypatch.setenv("CLASSPULSE_SECRETS_DIR", str(tmp_path))
    with pytest.raises(MustStop, match=r"^CLASSPULSE_PSEUDONYM_KEY: "):
        load()


def test_a_variable_counts_before_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where both are there, the environment's value is used."""
    (tmp_path / "classpulse_pseudonym_key").write_text("of the file, long enough")
    monkeypatch.setenv("CLASSPULSE_SECRETS_DIR", str(tmp_path))
    monkeypatch.setenv("CLASSPULSE_PSEUDONYM_KEY", KEY)
    assert load().pseudonym_key_bytes() == KEY.encode()
