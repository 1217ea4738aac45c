"""Each way in which a record fails to be an event, in both content modes."""

import itertools
import json
import time
from dataclasses import replace

import pytest

from schemas.codec.decode import Reason, Reject, decode
from schemas.codec.records import DETAIL_LIMIT_CHARS
from schemas.events.event_types import CLASSROOM, PREP, REGISTRY, Family
from schemas.export import example
from tests.unit.schemas.event_records import (
    CLOCK,
    NAME,
    NOW_US,
    KafkaRecord,
    answer,
    answer_data,
    binary,
    key_alone,
    record,
    verdict,
    without,
)


def raw(value: bytes | None) -> KafkaRecord:
    """Return a record with the right key and any value."""
    return replace(record(answer()), value=value)


def appended(text: bytes) -> KafkaRecord:
    """Return a valid event whose closing brace is replaced by ``text``."""
    return raw((record(answer()).value or b"")[:-1] + text)


def headed(given: KafkaRecord, **headers: bytes) -> KafkaRecord:
    """Return ``given`` with headers more, or others of their names."""
    kept = (header for header in given.headers if header[0] not in headers)
    return replace(given, headers=(*kept, *headers.items()))


REFUSED = {
    "null value": (raw(None), Reason.EMPTY, None),
    "empty value": (raw(b""), Reason.EMPTY, None),
    "invalid UTF-8": (appended(b',"x":"\xff"}'), Reason.ENCODING, None),
    "cut off": (raw(b'{"id": "1'), Reason.JSON, None),
    "NaN": (appended(b',"x":NaN}'), Reason.JSON, None),
    "byte order mark": (raw(b"\xef\xbb\xbf{}"), Reason.JSON, None),
    "two objects": (raw(b"{} {}"), Reason.JSON, None),
    "10,000 deep": (appended(b',"x":' + b"[" * 10_000 + b"]" * 10_000 + b"}"), Reason.NESTING, None),
    "65 deep": (appended(b',"x":' + b"[" * 64 + b"]" * 64 + b"}"), Reason.NESTING, None),
    "attribute twice": (appended(b',"id":"2"}'), Reason.DUPLICATE_KEY, "id"),
    "data twice": (appended(b',"data":{}}'), Reason.DUPLICATE_KEY, "data"),
    "data field twice": (
        raw((record(answer()).value or b"").replace(b'"score"', b'"prompt_id": "q", "score"')),
        Reason.DUPLICATE_KEY,
        "data.prompt_id",
    ),
    "top-level null": (raw(b"null"), Reason.ENVELOPE, None),
    "top-level array": (raw(b"[1]"), Reason.ENVELOPE, None),
    "no id": (record(without("id")), Reason.ENVELOPE, "id"),
    "id null": (record(answer(id=None)), Reason.ENVELOPE, "id"),
    "id a number": (record(answer(id=1)), Reason.ENVELOPE, "id"),
    "id with a space": (record(answer(id="a b")), Reason.ENVELOPE, "id"),
    "id too long": (record(answer(id="x" * 129)), Reason.ENVELOPE, "id"),
    "specversion 0.3": (record(answer(specversion="0.3")), Reason.ENVELOPE, "specversion"),
    "time without zone": (record(answer(time="2026-11-16T08:05:12")), Reason.ENVELOPE, "time"),
    "30 February": (record(answer(time="2026-02-30T08:05:12Z")), Reason.ENVELOPE, "time"),
    "sequence a number": (record(answer(sequence=42)), Reason.ENVELOPE, "sequence"),
    "dataschema without version": (record(answer(dataschema="urn:x")), Reason.ENVELOPE, "dataschema"),
    "datacontenttype XML": (record(answer(datacontenttype="text/xml")), Reason.ENVELOPE, "datacontenttype"),
    "subject of another lesson": (record(answer(subject="other")), Reason.ENVELOPE, "subject"),
    "lessonid of another lesson": (record(answer(lessonid="other")), Reason.ENVELOPE, "lessonid"),
    "unknown type": (record(answer(type="io.classpulse.classroom.tea.spilt.v1")), Reason.UNKNOWN_TYPE, "type"),
    "type of another product": (record(answer(type="com.example.answer")), Reason.UNKNOWN_TYPE, "type"),
    "type in version 2": (record(answer(type=f"io.classpulse.{NAME}.v2")), Reason.UNKNOWN_VERSION, "type"),
    "schema in version 2": (record(answer(dataschema="urn:x:2.0")), Reason.UNKNOWN_VERSION, "dataschema"),
    "schema in version 10": (record(answer(dataschema="urn:x:10.0")), Reason.UNKNOWN_VERSION, "dataschema"),
    "type of another family": (record(example(PREP, "prep.plan.opened")), Reason.WRONG_TOPIC, "type"),
    "charset in datacontenttype": (
        record(answer(datacontenttype="application/json; charset=GBK")),
        Reason.ENVELOPE,
        "datacontenttype",
    ),
    "another charset in ce_datacontenttype": (
        headed(binary(answer()), ce_datacontenttype=b"application/json;charset=gbk"),
        Reason.ENVELOPE,
        "datacontenttype",
    ),
    "ideographic space in an id": (record(answer(id="stu\u30001")), Reason.ENVELOPE, "id"),
    "zero-width space in the source": (record(answer(source="/s07\u200b")), Reason.ENVELOPE, "source"),
    "soft hyphen in the schema": (record(answer(dataschema="urn:\u00adx:1.0")), Reason.ENVELOPE, "dataschema"),
    "byte order mark in a student": (record(answer_data(student_id="\ufeffstu-1")), Reason.DATA, "data.student_id"),
    "no-break space in a header": (binary(answer(classid="s07\u00a0c2")), Reason.ENVELOPE, "classid"),
    "record key another than the header's": (replace(binary(answer()), key=b"other"), Reason.KEY, "partitionkey"),
    "neither key nor partitionkey": (replace(record(without("partitionkey")), key=None), Reason.KEY, "partitionkey"),
    "key alone, not UTF-8": (replace(key_alone(), key=b"\xff"), Reason.KEY, "partitionkey"),
    "key alone, empty": (replace(key_alone(), key=b""), Reason.KEY, "partitionkey"),
    "key alone, with a space": (replace(record(without("partitionkey")), key=b"a b"), Reason.KEY, "partitionkey"),
    "key alone, of another lesson": (replace(record(without("partitionkey")), key=b"other"), Reason.ENVELOPE, "subject"),
    "second 60 within a month": (record(answer(time="2026-11-16T23:59:60Z")), Reason.ENVELOPE, "time"),
    "24 o'clock": (record(answer(time="2026-11-16T24:00:00Z")), Reason.ENVELOPE, "time"),
    "offset of a day": (record(answer(time="2026-11-16T08:05:12+24:00")), Reason.ENVELOPE, "time"),
    "written down years later": (record(answer(recordedtime="2036-11-16T08:05:12Z")), Reason.ENVELOPE, "recordedtime"),
    "written down in 2149": (record(answer(recordedtime="2149-11-16T08:05:12Z")), Reason.ENVELOPE, "recordedtime"),
    "no record key": (replace(record(answer()), key=None), Reason.KEY, "partitionkey"),
    "another record key": (replace(record(answer()), key=b"other"), Reason.KEY, "partitionkey"),
    "no data": (record(without("data")), Reason.DATA, "data"),
    "data null": (record(answer(data=None)), Reason.DATA, "data"),
    "data an array": (record(answer(data=[])), Reason.DATA, "data"),
    "data_base64": (record({**without("data"), "data_base64": "e30="}), Reason.DATA, "data_base64"),
    "score above 1": (record(answer_data(score=1.5)), Reason.DATA, "data.score"),
    "score a string": (record(answer_data(score="1")), Reason.DATA, "data.score"),
    "latency 1.0": (record(answer_data(latency_ms=1.0)), Reason.DATA, "data.latency_ms"),
    "latency true": (record(answer_data(latency_ms=True)), Reason.DATA, "data.latency_ms"),
    "latency beyond 64 bits": (record(answer_data(latency_ms=10**30)), Reason.DATA, "data.latency_ms"),
    "correct 1": (record(answer_data(correct=1)), Reason.DATA, "data.correct"),
    "student null": (record(answer_data(student_id=None)), Reason.DATA, "data.student_id"),
    "clock behind": (record(answer(time="1970-01-02T00:00:00Z", recordedtime=None)), Reason.CLOCK_BEHIND, "time"),
    "clock behind decides before the other times": (
        record(answer(time="1970-01-01T00:00:00Z")),
        Reason.CLOCK_BEHIND,
        "time",
    ),
    "clock ahead": (record(answer(time="2027-01-15T08:01:00.000001Z")), Reason.CLOCK_AHEAD, "time"),
    "binary: attribute twice": (
        replace(binary(answer()), headers=(*binary(answer()).headers, ("ce_id", b"2"))),
        Reason.ENVELOPE,
        "ce_id",
    ),
    "binary: header not UTF-8": (
        replace(binary(without("schoolid")), headers=(*binary(without("schoolid")).headers, ("ce_schoolid", b"\xff"))),
        Reason.ENCODING,
        "schoolid",
    ),
    "binary: no id": (binary(without("id")), Reason.ENVELOPE, "id"),
    "binary: data no object": (replace(binary(answer()), value=b'"x"'), Reason.DATA, "data"),
    "binary: score above 1": (binary(answer_data(score=1.5)), Reason.DATA, "data.score"),
    "content type": (
        replace(record(answer()), headers=(("content-type", b"text/xml"),)),
        Reason.CONTENT_TYPE,
        "content-type",
    ),
    "another character set": (
        replace(record(answer()), headers=(("content-type", b"application/json; charset=gbk"),)),
        Reason.CONTENT_TYPE,
        "content-type",
    ),
    "a batch of events": (
        headed(record(answer()), **{"content-type": b"application/cloudevents-batch+json"}),
        Reason.CONTENT_TYPE,
        "content-type",
    ),
    "another format of events": (
        headed(record(answer()), **{"content-type": b"Application/CloudEvents+Avro"}),
        Reason.CONTENT_TYPE,
        "content-type",
    ),
}


@pytest.mark.parametrize(("given", "reason", "field"), REFUSED.values(), ids=REFUSED.keys())
def test_a_record_that_is_no_event_is_rejected_for_its_reason(
    given: KafkaRecord, reason: Reason, field: str | None
) -> None:
    """The reason and the field are those of the fault, and the detail is bounded and says what was expected."""
    rejected = verdict(given)
    assert rejected is not None
    assert (rejected.reason, rejected.field) == (reason, field)
    assert 0 < len(rejected.detail) <= DETAIL_LIMIT_CHARS


ACCEPTED = {
    "structured": record(answer()),
    "structured, by content type": replace(
        record(answer()), headers=(("Content-Type", b"application/cloudevents+json; charset=UTF-8"),)
    ),
    "structured wins over ce_ headers": replace(
        record(answer()), headers=(("content-type", b"application/cloudevents+json"), ("ce_id", b"\xff"))
    ),
    "binary": binary(answer()),
    "binary without content type": replace(binary(answer()), headers=binary(answer()).headers[1:]),
    "binary: media type with parameters": headed(
        binary(answer()), **{"content-type": b'Application/JSON ; v=1;charset="UTF-8"'}
    ),
    "binary: another type of JSON": headed(binary(answer()), **{"content-type": b"application/vnd.school+json"}),
    "binary: ce_datacontenttype": headed(binary(answer()), ce_datacontenttype=b"application/json; charset=utf-8"),
    "binary: key alone": key_alone(),
    "structured: key alone": replace(record(without("partitionkey")), key=key_alone().key),
    "partitionkey null": replace(record(answer(partitionkey=None)), key=key_alone().key),
    "datacontenttype with a charset": record(answer(datacontenttype="application/json; charset=utf-8")),
    "datacontenttype of another type of JSON": record(answer(datacontenttype="Application/vnd.school+JSON")),
    "structured: media type in any case": headed(
        record(answer()), **{"CONTENT-TYPE": b'Application/CloudEvents+JSON;charset="utf-8"'}
    ),
    "ids of other scripts": record(answer(id="学生-乙-طالب-٣-ｓｔｕ－１-\U0002ebf0")),
    "time in small letters": record(answer(time="2026-11-16t08:05:12z")),
    "twelve digits of a second": record(answer(time="2026-11-16T08:05:12.123456789012+08:00")),
    "zone unknown": record(answer(time="2026-11-16T08:05:12-00:00")),
    "widest offset": record(answer(time="2026-11-16T08:05:12+23:59")),
    "leap second": record(answer(time="2026-07-01T07:59:60.5+08:00")),
    "written down a year later": record(answer(recordedtime="2027-11-17T00:05:12.345Z")),
    "unknown attributes and fields": record({**answer_data(mood="good"), "traceparent": "00-1"}),
    "a minor version": record(answer(dataschema="https://x.example/v1.7.2")),
    "optional fields null": record(answer_data(score=None, correct=None, latency_ms=None)),
    "score 1 without a fraction": record(answer_data(score=1)),
    "unknown key twice": appended(b',"x":1,"x":2}'),
    "64 deep": appended(b',"x":' + b"[" * 63 + b"]" * 63 + b"}"),
    "many brackets in a string": appended(b',"x":"' + b"[" * 200 + b'"}'),
    "NaN in a string": appended(b',"x":"-NaN"}'),
    "white space around": raw(b"\n " + (record(answer()).value or b"") + b"\r\n"),
    "pretty-printed": raw(json.dumps(answer(), indent=2).encode()),
    "just in time": record(answer(time="2027-01-15T08:01:00Z")),
    "no record timestamp": replace(record(answer()), timestamp=-1),
}


@pytest.mark.parametrize("given", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_what_the_contract_allows_is_accepted(given: KafkaRecord) -> None:
    """Both content modes, minor additions and harmless spellings are events."""
    assert verdict(given) is None


def test_a_value_above_the_limit_is_rejected_and_one_at_it_is_not() -> None:
    """The limit is in bytes and inclusive."""
    given = record(answer())
    size = len(given.value or b"")
    assert verdict(given, limit_bytes=size) is None
    rejected = verdict(given, limit_bytes=size - 1)
    assert rejected is not None
    assert rejected.reason is Reason.TOO_LARGE


def test_a_replay_judges_the_clock_by_the_records_own_timestamp() -> None:
    """An event ahead of its record's timestamp stays rejected however late the record is read again."""
    given = replace(record(answer(time="2026-11-16T00:05:12Z")), timestamp=1_794_000_000_000)
    for now_us in (NOW_US, NOW_US * 2):
        rejected = decode(CLASSROOM, [given], clock=CLOCK, now_us=now_us).rejects[0]
        assert rejected.reason is Reason.CLOCK_AHEAD


def test_a_detail_stays_short_whatever_came() -> None:
    """A wrong value of a megabyte is quoted in part, and the detail can be written as UTF-8."""
    rejected = verdict(record(answer_data(student_id="数" * 300_000)))
    assert rejected is not None
    assert len(rejected.detail) <= DETAIL_LIMIT_CHARS
    lone = verdict(raw((record(answer()).value or b"").replace(b"stu-004211", rb"\ud800")))
    assert lone is not None
    assert lone.detail.encode("utf-8")


def test_a_bad_record_does_not_disturb_its_neighbours() -> None:
    """Every kind of fault in one batch: the valid events between them are all stored, in offset order."""
    bad = [given for given, _, _ in REFUSED.values()]
    good = list(ACCEPTED.values())
    pairs = zip(bad, itertools.cycle(good))
    batch = [replace(one, offset=offset) for offset, one in enumerate(itertools.chain.from_iterable(pairs))]
    decoded = decode(CLASSROOM, batch, clock=CLOCK, now_us=NOW_US)
    assert [rejected.row for rejected in decoded.rejects] == list(range(0, len(batch), 2))
    assert decoded.events["offset"].to_list() == list(range(1, len(batch), 2))
    assert decoded.events["row"].to_list() == list(range(1, len(batch), 2))


def test_an_entry_of_the_registry_is_about_its_key() -> None:
    """In the registry, subject must equal the key; in prep it is the plan and may differ."""
    rejected = verdict(record({**example(REGISTRY, "registry.entry.retired"), "subject": "x"}), REGISTRY)
    assert rejected is not None
    assert rejected.field == "subject"
    assert verdict(record({**example(PREP, "prep.plan.opened"), "subject": "x"}), PREP) is None


def test_keys_without_number_are_rejected_in_time() -> None:
    """A megabyte of keys, each given twice, costs no more than its length: comparing each with each would take minutes."""
    keys = b"{" + b",".join(b'"a%d":1' % (number // 2) for number in range(90_000)) + b"}"
    started = time.process_time()
    found = verdict(raw(keys))
    assert found is not None
    assert found.reason is Reason.ENVELOPE
    assert time.process_time() - started < 10


@pytest.mark.parametrize(
    ("header", "reason"), [("classpulse-oversized-batch", Reason.TOO_LARGE), ("classpulse-unreadable", Reason.ENCODING)]
)
def test_a_substitute_says_why_its_record_could_not_be_read(header: str, reason: Reason) -> None:
    """A record without a value carries the explanation; on a real record the same header means nothing."""
    substitute = replace(raw(None), headers=((header, b"because \xff"),))
    assert verdict(substitute) == Reject(0, reason, None, "because \\xff")
    event = record(answer())
    assert verdict(replace(event, headers=(*event.headers, (header, b"because")))) is None


LOG = "/kafka/classpulse.registry/0/2"
TOMBSTONE = KafkaRecord(value=None, key=b"s07", headers=(), offset=12, timestamp=NOW_US // 1000 - 5)


def test_a_tombstone_of_the_registry_retires_the_entry() -> None:
    """It is an event: source and id say where in which log it is, its time is the record's timestamp."""
    decoded = decode(REGISTRY, [TOMBSTONE], clock=CLOCK, now_us=NOW_US, log=LOG)
    assert not decoded.rejects
    (event,) = decoded.events.rows(named=True)
    assert (event["type"], event["key"], event["subject"]) == ("registry.entry.retired", "s07", "s07")
    assert (event["source"], event["id"], event["time_us"]) == (LOG, "12", TOMBSTONE.timestamp * 1000)


@pytest.mark.parametrize(
    ("change", "family", "log", "reason"),
    [
        ({}, CLASSROOM, "/kafka/classpulse.classroom/0/0", Reason.EMPTY),
        ({}, REGISTRY, None, Reason.EMPTY),
        ({"value": b""}, REGISTRY, LOG, Reason.EMPTY),
        ({"key": None}, REGISTRY, LOG, Reason.EMPTY),
        ({"key": b"\xff"}, REGISTRY, LOG, Reason.ENCODING),
        ({"key": b"s 07"}, REGISTRY, LOG, Reason.ENVELOPE),
        ({"key": b""}, REGISTRY, LOG, Reason.ENVELOPE),
        ({"timestamp": -1}, REGISTRY, LOG, Reason.CLOCK_BEHIND),
        ({"timestamp": 2**60}, REGISTRY, LOG, Reason.CLOCK_AHEAD),
        ({"headers": (("classpulse-unreadable", b"broken"),)}, REGISTRY, LOG, Reason.ENCODING),
    ],
)
def test_what_deletes_nothing_is_rejected(
    change: dict[str, object], family: Family, log: str | None, reason: Reason
) -> None:
    """Without a value, but on another topic, from no log, without an entry's key, or at no time that is accepted."""
    found = decode(family, [replace(TOMBSTONE, **change)], clock=CLOCK, now_us=NOW_US, log=log)  # type: ignore[arg-type]
    assert [reject.reason for reject in found.rejects] == [reason]
