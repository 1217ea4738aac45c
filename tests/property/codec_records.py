"""Records for the codec: valid events, and events with one of many tricks played on them.

A record is described by a *recipe*: an event type, a trick, and a seed. Hypothesis chooses the recipes, so a failing
batch shrinks to the recipes that matter.
"""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from schemas.codec import media_types
from schemas.codec.columns import Kind, Rule, model_fields
from schemas.codec.decode import ClockLimits
from schemas.events.consistency import CODES_OF_SPEAKER, LATE_ENDS_US, SCHEDULES_US, SPEECH, contradictions
from schemas.events.envelope import Envelope
from schemas.events.event_types import FAMILIES, Family, schema_uri, type_uri
from schemas.events.fields import IDENTIFIER_PATTERN, timestamp_us

NOW_US = 1_800_000_000_000_000
CLOCK = ClockLimits(earliest_us=1_500_000_000_000_000, max_ahead_us=3_600_000_000)
VALUE_LIMIT_BYTES = 100_000


@dataclass(frozen=True)
class KafkaRecord:
    """A record as aiokafka gives it."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, Any], ...]
    offset: int
    timestamp: int


@dataclass
class Draft:
    """An event before it becomes bytes."""

    attributes: dict[str, Any]
    data: dict[str, Any]
    binary: bool
    key: bytes | None
    timestamp: int


def some_text(rng: random.Random, low: int, high: int, *, spaces: bool) -> str:
    """Return text of a length at or between the bounds, with what parsers trip over."""
    length = rng.choice([low, high, rng.randint(low, min(high, 12)), rng.randint(low, min(high, 12))])
    # Of one kind at times, so that whole columns are plain.
    alphabet = rng.choice(["abzAZ09-_.:/", "ab09数学가", 'abzAZ09-_.:/ß数学（ｓ１가𝔘é\u0301"\\{}[],'])
    alphabet += rng.choice(["", " ", " NaNInf\u3000\u200d\ufe0f"]) if spaces else ""
    return "".join(rng.choices(alphabet, k=length))


def some_time(rng: random.Random, moment: datetime) -> str:
    """Return ``moment`` as RFC 3339 in one of its forms, at the end of its month perhaps with a leap second."""
    zone = rng.choice(["Z", "z", "+08:00", "-23:59", "+00:00", "-00:00"])
    offset = timedelta(0) if zone in "Zz" else timedelta(hours=int(zone[1:3]), minutes=int(zone[4:])) * int(f"{zone[0]}1")
    digits = rng.choice([0, *range(1, 10), rng.randint(10, 100)])
    fraction = "." + "".join(rng.choices("0123456789", k=digits)) if digits else ""
    leap = rng.random() < 0.05
    if leap:
        moment = moment.replace(day=1, hour=0, minute=0, second=0) - timedelta(seconds=1)
    text = (moment + offset).strftime(f"%Y-%m-%d{rng.choice('TTTt')}%H:%M:%S")
    return f"{text[:-2]}60{fraction}{zone}" if leap else f"{text}{fraction}{zone}"


def some_moment(rng: random.Random) -> datetime:
    """Return a second of the years that the clock's limits allow, leap days included."""
    day = rng.choice([(2, 28), (2, 29), (12, 31), (1, 1), (rng.randint(1, 12), rng.randint(1, 28))])
    year = rng.choice([2020, 2024]) if day == (2, 29) else rng.randint(2018, 2026)
    return datetime(year, *day, rng.randint(0, 23), rng.randint(0, 59), rng.randint(0, 59), tzinfo=UTC)


MEDIA_TYPES = (
    *("application/json", "Application/JSON; Charset=UTF-8", 'application/json ;charset="utf-8"', "text/json;;"),
    *("application/vnd.school+json; v=1", ' application/json;profile="a;\\"b" ', "application/json;charset=US-ASCII"),
)


def some_value(rng: random.Random, rule: Rule, moment: datetime) -> Any:
    """Return a value of an event of ``moment`` that keeps ``rule``, often one at its edge."""
    if rule.item is not None:
        most = rule.max_length or 10
        length = rng.choice([0, 1, 2, 3, 5] + [most] * (rng.random() < 0.05))
        return [some_value(rng, rule.item, moment) for _ in range(length)]
    if rule.kind is Kind.TIMESTAMP:
        return some_time(rng, moment + timedelta(days=rng.randint(-300, 300)))
    low, high = int(rule.ge or 0), int(rule.le or 9)
    plain: dict[Kind, tuple[Any, ...]] = {
        Kind.BOOL: (True, False),
        Kind.INT: (low, high, rng.randint(low, high)),
        Kind.FLOAT: (0, 1, 0.0, 1.0, -0.0, 1e-320, 5e-324, 0.1, rng.random(), 0.30000000000000004),
    }
    if rule.kind in plain:
        return rng.choice(plain[rule.kind])
    choices = MEDIA_TYPES if rule.pattern == media_types.JSON else rule.choices
    if choices is not None:
        return rng.choice(choices)
    if rule.pattern == r"^[0-9]{1,18}$":
        return str(rng.randint(0, 10**18 - 1)).zfill(rng.randint(1, 18))
    return some_text(rng, rule.min_length, rule.max_length or 20, spaces=rule.pattern != IDENTIFIER_PATTERN)


def agree(rng: random.Random, name: str, moment: datetime, data: dict[str, Any]) -> None:
    """Change fields of ``data`` that would contradict each other, often to what is just allowed."""
    if name in SCHEDULES_US:
        start, longest = moment + timedelta(days=rng.randint(-300, 300)), timedelta(microseconds=SCHEDULES_US[name])
        length = rng.choice([timedelta(seconds=2), timedelta(minutes=40), longest - timedelta(seconds=1)])
        data |= {"scheduled_start": some_time(rng, start), "scheduled_end": some_time(rng, start + length)}
    if name in LATE_ENDS_US:
        latest = timedelta(microseconds=LATE_ENDS_US[name])
        data["lesson_end"] = some_time(
            rng, moment + rng.choice([-timedelta(days=300), timedelta(), latest - timedelta(seconds=1)])
        )
    if name == SPEECH and data.get("fias_code") is not None:
        data["fias_code"] = rng.choice(CODES_OF_SPEAKER[data["speaker"]])


def contradiction(rng: random.Random, draft: Draft) -> None:
    """Change one field so that it may contradict another one."""
    fields = {"scheduled_start", "scheduled_end", "lesson_end", "speaker", "fias_code"} & draft.data.keys()
    if fields:
        field = rng.choice(sorted(fields))
        choices: dict[str, tuple[Any, ...]] = {
            "speaker": ("teacher", "student", "both", "silence"),
            "fias_code": (1, 7, 8, 9, 10),
        }
        text = str(draft.attributes.get("time"))
        near = [text, *(value for name, value in draft.data.items() if name.startswith("scheduled"))]
        draft.data[field] = rng.choice(choices.get(field, near))


def valid_draft(rng: random.Random, family: Family, name: str) -> Draft:
    """Return an event that the models accept."""
    key, moment = some_text(rng, 1, 128, spaces=False), some_moment(rng)
    attributes: dict[str, Any] = {
        field: some_value(rng, declared.rule, moment)
        for field, declared in model_fields(Envelope).items()
        if declared.required or rng.random() < 0.5
    }
    version = rng.choice(["1.0", "1", "v1.2", "1.0.3", "v1", "1.9999"])
    attributes |= {"type": type_uri(name), "time": some_time(rng, moment), "partitionkey": key, "subject": key}
    attributes["dataschema"] = rng.choice([schema_uri(name, version), f"https://x.example/{name}/{version}"])
    if family.name == "prep":
        attributes["subject"] = some_text(rng, 1, 20, spaces=False)
    if family.name == "classroom" and "lessonid" in attributes:
        attributes["lessonid"] = key
    if rng.random() < 0.2:
        attributes |= {"partitionkey": None}
    data = {
        field: some_value(rng, declared.rule, moment)
        for field, declared in model_fields(family.models[name]).items()
        if declared.required or rng.random() < 0.7
    }
    # A leap second is at the end of a month, wherever it was to be.
    while any(contradictions(name, timestamp_us(attributes["time"]), data)):
        agree(rng, name, moment, data)
    timestamp = rng.choice([-1, NOW_US // 1000, NOW_US // 1000 - 50_000, 2**62])
    return Draft(attributes, data, rng.random() < 0.4, key.encode(), timestamp)


#: Rejected in identifiers, in names too, and nowhere.
STRANGE = (
    *(" ", "\u3000", "\u00a0", "\u00ad", "\u200b", "\u200d", "\ufeff", "\ufe0f", "\u3164", "\u2800", "\ue000", "\ufffd"),
    *("\ufdd0", "\U000e0041", "\U000e0100", "\U000f0000", "\U0001fffe", "\u180e", "\u06dd"),
    *("\t", "\n", "\x00", "\x7f", "\x85", "\x9b", "\u2028", "\u2029", "\u202e", "\u2066", "\u200f", "\u061c"),
    *("\u0378", "\u0301", "ｓ", "（", "㐀", "\U0002ebf0", "\U0001f393", "가", "ж", "é"),
)
#: Times that are none, and some that only look like it.
WRONG_TIMES = (
    *("2026-02-30T00:00:00Z", "2026-02-29T00:00:00Z", "1969-12-31T23:59:59Z", "2200-01-01T00:00:00Z", "2026-13-01"),
    *("2026-01-01T24:00:00Z", "2026-01-01T00:00:60Z", "2026-01-01t00:00:00Z", "2026-01-01T00:00:00z"),
    *("2026-01-01T00:00:00", "2026-01-01T00:00:00+24:00", "2026-01-01T00:00:00.1234567890Z", "2026-01-01T00:00:00.Z"),
    *("2026-01-01T00:00:00,5Z", "2026-01-01T00:00:00+0800", "2026-01-01 00:00:00Z", "٢٠٢٦-01-01T00:00:00Z"),
    *("2026-01-31T23:59:60Z", "2026-02-01T07:59:60.9+08:00", "2026-01-31T23:59:60+08:00", "2026-01-31T23:59:61Z"),
    "2026-01-01T23:59:60Z",
    *("2026-01-01T00:00:00." + "0" * 107 + "Z", "2026-01-01T00:00:00." + "0" * 108 + "Z", "2148-12-31T23:59:59.9Z"),
    *("2026-01-01T00:00:00Z\n", "2026-01-01T00:00:00Z ", "2026-01-01T00:00:00-24:00"),
    *("1970-01-01T00:00:00+23:59", "2100-02-29T00:00:00Z", "2024-02-29T23:59:59.999999999-23:59"),
)
WRONG_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 1.0, 1.5, -0.0, 2, 13, 2**31, 2**53 + 1, 2**63, 2**64, -(2**63) - 1, 10**40, 1e300),
    *("", " ", "x", "1", "a b", "a\n", "x" * 129, "x" * 201, "数" * 200, "𝔘" * 128, "é" * 129, "\x00", "\x7f", "\u2028"),
    *([], {}, [None], ["a", None], ["a"], [1], [True], [0.5], [-0.0, 1], [1.5], ["a b"], ["a"] * 501, [["a"]], {"a": 1}),
    *WRONG_TIMES,
    *("urn:x:2.0", "urn:x:1", "urn:x:01.0", "urn:x:v0001", "urn:x:1.0.0.0", "x/1", "1.0", "urn:x:", "urn:x:0"),
    *("application/json", "online", "a" * 257, "urn:x:v1:2", "io.classpulse.classroom.hand.raised.v2"),
    *("io.classpulse.classroom.hand.raised.v1", "io.classpulse.prep.plan.opened.v1", "io.classpulse.v1", "0" * 19, "٣"),
)


def wrong_attribute(rng: random.Random, draft: Draft) -> None:
    """Put any value into any attribute."""
    draft.attributes[rng.choice([*Envelope.model_fields, "data_base64", "other"])] = rng.choice(WRONG_VALUES)


def wrong_data(rng: random.Random, draft: Draft) -> None:
    """Put any value into a field of data."""
    names = [*draft.data, "score", "duration_ms", "roster", "lesson_id", "other"]
    draft.data[rng.choice(names)] = rng.choice(WRONG_VALUES)


def missing(rng: random.Random, draft: Draft) -> None:
    """Leave out an attribute or a field."""
    chosen = rng.choice([part for part in (draft.attributes, draft.data) if part])
    del chosen[rng.choice(list(chosen))]


def foreign_fields(rng: random.Random, draft: Draft) -> None:
    """Add fields that other types declare: right for those, to be ignored here."""
    for model in rng.sample([model for family in FAMILIES for model in family.models.values()], 3):
        for name, declared in model_fields(model).items():
            draft.data.setdefault(name, some_value(rng, declared.rule, some_moment(rng)))


def wrong_key(rng: random.Random, draft: Draft) -> None:
    """Send another record key, or none."""
    draft.key = rng.choice([None, b"", b"x", b"\xff", "a\u3000b".encode(), b"x" * 129, (draft.key or b"") + b" "])
    if rng.random() < 0.7:
        draft.attributes["partitionkey"] = None


def unequal(rng: random.Random, draft: Draft) -> None:
    """Let the event be about something other than its key."""
    draft.attributes[rng.choice(["subject", "lessonid", "partitionkey"])] = "elsewhere"


def wrong_type(rng: random.Random, draft: Draft) -> None:
    """Take a type of any family or version."""
    family = rng.choice(FAMILIES)
    name = rng.choice(list(family.models))
    draft.attributes["type"] = rng.choice([type_uri(name), f"io.classpulse.{name}.v2", f"io.classpulse.{name}", "x"])
    draft.attributes["dataschema"] = rng.choice(["urn:x:1.0", "urn:x:2.0", "urn:x:01", "urn:x:v11.1"])


def strange_text(rng: random.Random, draft: Draft) -> None:
    """Put a character that is rejected somewhere, or one that only looks like it, into a name or an identifier."""
    chosen = rng.choice([part for part in (draft.attributes, draft.data) if part])
    name = rng.choice(list(chosen))
    if isinstance(chosen[name], str):
        place = rng.randint(0, len(chosen[name]))
        chosen[name] = chosen[name][:place] + rng.choice(STRANGE) + chosen[name][place:]
    elif isinstance(chosen[name], list) and chosen[name]:
        chosen[name] = [*chosen[name], f"a{rng.choice(STRANGE)}"]


def far_time(rng: random.Random, draft: Draft) -> None:
    """Set another time at the edges of what may lie beside the event's own, or beyond."""
    draft.attributes["time"] = "2026-01-01T00:00:00Z"
    edges = ["2024-12-31T00:00:00Z", "2024-12-30T23:59:59.999999Z", "2027-01-02T00:00:00Z", "2027-01-02T00:00:00.000001Z"]
    far = rng.choice([*edges, "1970-01-01T00:00:00+23:59", "2148-12-31T23:59:59-23:59", "2149-01-01T00:00:00Z"])
    names = [name for name in draft.data if name.startswith(("scheduled_", "lesson_start", "lesson_end"))]
    if names and rng.random() < 0.8:
        draft.data[rng.choice(names)] = far
    else:
        draft.attributes["recordedtime"] = far


def wrong_time(rng: random.Random, draft: Draft) -> None:
    """Put a time that is none where one belongs."""
    names = [name for name in draft.data if name.startswith(("scheduled_", "lesson_start", "lesson_end"))]
    places = [(draft.attributes, "time"), (draft.attributes, "recordedtime"), *((draft.data, name) for name in names)]
    part, name = rng.choice(places)
    part[name] = rng.choice(WRONG_TIMES)


def strange_media_type(rng: random.Random, draft: Draft) -> None:
    """Name a media type that is none of JSON, or not in UTF-8."""
    draft.attributes["datacontenttype"] = rng.choice(
        [
            *MEDIA_TYPES,
            *("application/json; charset=gbk", "application/json;charset", "json", "application/jsons", "a/b+json\n"),
            *("application/json;charsets=gbk", 'application/json;charset="utf-8";Charset=latin1', "application/json x"),
            *("application/json" + "; " * 119, "application/json" + ";" * 241, "application/cloudevents+json", ""),
        ]
    )


def wrong_clock(rng: random.Random, draft: Draft) -> None:
    """Set the time at the edges of the clock limits, or beyond."""
    behind = ["2017-07-14T02:39:59.999999Z", "2017-07-14T02:40:00Z", "1970-01-01T00:00:00Z"]
    ahead = ["2027-01-15T09:00:00Z", "2027-01-15T09:00:00.000001Z", "2150-01-01T00:00:00Z"]
    draft.attributes["time"] = rng.choice(behind + ahead)


EDITS: tuple[Callable[[random.Random, Draft], None], ...] = (
    *(wrong_attribute, wrong_attribute, wrong_data, wrong_data, wrong_data, missing, foreign_fields),
    *(wrong_key, unequal, wrong_type, wrong_clock, strange_text, strange_text, far_time, strange_media_type),
    *(contradiction, contradiction),
    *(wrong_time, wrong_time),
)


def flipped(rng: random.Random, value: bytes) -> bytes:
    """Put another byte in the place of one."""
    place = rng.randrange(len(value))
    other = rng.choice(b'\x00\n"\\{}[],:0-e \xff\x80AA')
    return value[:place] + bytes([other]) + value[place + 1 :]


VALUE_TRICKS: tuple[Callable[[random.Random, bytes], bytes | None], ...] = (
    lambda _, value: value + value,
    lambda _, value: value + b" " + value,
    lambda _, value: value + b"\n" + value + b"\r" + value,
    lambda _, value: value[:-1] + b"\0}",
    lambda _, value: value + b"\0}",
    lambda _, value: value[:1] + b"\0" + value[1:],
    lambda _, value: b"\xef\xbb\xbf" + value,
    lambda _, value: b" " + value + b"\n",
    lambda _, value: value[:-1] + b",}",
    lambda _, value: value[:-1] + b',"other":NaN}',
    lambda _, value: value[:-1] + b',"other":[-Infinity,Inf]}',
    lambda _, value: value[:-1] + b',"other":"- NaN, Infinity"}',
    lambda _, value: value[:-1] + b',"other":1e999}',
    lambda _, value: value[:-1] + b',"other":' + b"9" * 5000 + b"}",
    lambda _, value: value[:-1] + b',"other":01}',
    lambda _, value: value[:-1] + b',"other":"\xff"}',
    lambda _, value: value[:-1] + b',"other":"\xed\xa0\x80"}',
    lambda _, value: value[:-1] + rb',"other":"\ud800"}',
    lambda _, value: value[:-1] + rb',"subject":"\ud800","student_id":"\udc00"}',
    lambda _, value: value[:-1] + b',"other":' + b"[" * 63 + b"]" * 63 + b"}",
    lambda _, value: value[:-1] + b',"other":' + b"[" * 64 + b"]" * 64 + b"}",
    lambda _, value: value[:-1] + b',"other":' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"}",
    lambda _, value: value[:-1] + b',"other":[' + b"{}," * 100 + b"{}]}",
    lambda _, value: value[:-1] + b',"other":"' + b"[" * 100 + rb"\"\\" + b'"}',
    lambda _, value: value[:-1] + b',"other":1,"other":2}',
    lambda _, value: value[:-1] + b',"other":{"id":1,"id":2,"score":"x"}}',
    lambda _, value: value[:-1] + b',"id":"a","id":"b"}',
    lambda _, value: value[:-1] + b',"data":{}}',
    lambda _, value: value[:-1] + b',"data":null,"data_base64":null}',
    lambda _, value: value[:-1] + b',"data_base64":"e30="}',
    lambda _, value: value[:-1] + b',"student_id":"a","score":0.5}',
    lambda _, value: value.replace(b'"data"', rb'"d\u0061ta"').replace(b'"id"', rb'"\u0069d"'),
    lambda _, value: value.replace(b":", b" :\r\n\t", 5),
    lambda _, value: value.replace(b'"data": {', b'"data": {"score": "x", "score": 1, '),
    lambda rng, value: value.replace(b": 0", rng.choice([b": -0", b": 0.0", b": 0e0", b": 1E0", b": 00"])),
    lambda rng, value: value[: rng.randrange(len(value))],
    lambda rng, value: value[rng.randrange(len(value)) :],
    flipped,
    flipped,
    lambda rng, _: rng.choice([None, b"", b"{}", b"null", b"[]", b"[{}]", b"{", b"}"]),
    lambda rng, _: rng.choice([b"1", b'"a"', b"{}{}", b" ", b"{{}}", b"true", b"}{", b"\x00"]),
    lambda _, value: value[:-1] + b',"other":"' + b"x" * VALUE_LIMIT_BYTES + b'"}',
)
HEADER_TRICKS: tuple[Callable[[random.Random, list[tuple[str, Any]]], list[tuple[str, Any]]], ...] = (
    lambda rng, headers: [*headers, rng.choice(headers)] if headers else headers,
    lambda _, headers: [*headers, ("ce_id", b"x")],
    lambda _, headers: [*headers, ("ce_other", b"\xff"), ("CE_OTHER2", b"1")],
    lambda _, headers: [(name.upper(), value) for name, value in headers],
    lambda _, headers: headers[::-1],
    lambda rng, headers: [(name, rng.choice([value, value, None])) for name, value in headers],
    lambda rng, headers: [(name, rng.choice([value] * 9 + [b"\xff"])) for name, value in headers],
    lambda _, headers: [header for header in headers if header[0] != "content-type"],
    lambda _, headers: [*headers, ("content-type", b"application/json")],
    lambda rng, headers: [
        *(header for header in headers if header[0] != "content-type"),
        (
            "Content-Type",
            rng.choice(
                [
                    *(b"application/cloudevents+json;charset=utf-8", b"Application/CloudEvents+JSON ; Charset=UTF-8; v=1"),
                    *(b"application/cloudevents-batch+json", b"application/cloudevents", b"text/plain", b"", b"\xff", None),
                ]
            ),
        ),
    ],
    lambda rng, headers: [
        *(header for header in headers if header[0] != "content-type"),
        ("content-type", rng.choice([*map(str.encode, MEDIA_TYPES), b"application/json; charset=latin1", b"a/avro"])),
    ],
    lambda _, headers: [("trace", b"\xff"), *headers, ("trace", b"")],
    lambda _, headers: [header for header in headers if header[0] != "ce_partitionkey"],
    lambda rng, headers: [
        (name, rng.choice([None, b"", b"other", b"\xff", value]) if name == "ce_partitionkey" else value)
        for name, value in headers
    ],
    lambda _, _headers: [],
)
TRICKS = (
    *("none", "none", "several edits"),
    *(f"edit {number}" for number in range(len(EDITS))),
    *(f"value {number}" for number in range(len(VALUE_TRICKS))),
    *(f"header {number}" for number in range(len(HEADER_TRICKS))),
)


def written(rng: random.Random, draft: Draft) -> tuple[bytes, list[tuple[str, Any]]]:
    """Return the record's value and headers in the draft's content mode."""
    ascii_only = rng.random() < 0.3
    if draft.binary:
        headers: list[tuple[str, Any]] = [("content-type", b"application/json")] if rng.random() < 0.7 else []
        for name, value in draft.attributes.items():
            text = value if isinstance(value, str) else json.dumps(value)
            headers.append((f"ce_{name}", None if value is None else text.encode()))
        return json.dumps(draft.data, ensure_ascii=ascii_only).encode(), headers
    headers = [("content-type", b"application/cloudevents+json")] if rng.random() < 0.7 else []
    members = list({**draft.attributes, "data": draft.data}.items())
    if rng.random() < 0.3:
        rng.shuffle(members)
    indent = 1 if rng.random() < 0.1 else None
    return json.dumps(dict(members), ensure_ascii=ascii_only, indent=indent).encode(), headers


def build(family: Family, offset: int, recipe: tuple[int, str, int]) -> KafkaRecord:
    """Return the record that ``recipe`` (event type, trick, seed) describes."""
    which, trick, seed = recipe
    rng = random.Random(seed)
    draft = valid_draft(rng, family, list(family.models)[which % len(family.models)])
    kind, _, number = trick.partition(" ")
    if kind == "edit":
        EDITS[int(number)](rng, draft)
    elif kind == "several":
        for edit in rng.choices(EDITS, k=3):
            edit(rng, draft)
    value, headers = written(rng, draft)
    made: bytes | None = value
    if kind == "value":
        made = VALUE_TRICKS[int(number)](rng, value)
    elif kind == "header":
        headers = HEADER_TRICKS[int(number)](rng, headers)
    return KafkaRecord(draft.key, made, tuple(headers), offset, draft.timestamp)
