"""What a hostile device sends: one maker a kind of hostility, each given a valid event to spoil.

A maker's name ends in what must become of its records whoever checks them: ``REFUSED`` and ``STORED`` hold the makers whose
verdict is known beforehand, ``EITHER`` those whose verdict depends on the event and on chance.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any, Final, NamedTuple

Json = dict[str, Any]
Header = tuple[str, bytes | None]


class Draft(NamedTuple):
    """A record before it has a place: everything of it that a producer decides, but its topic."""

    key: bytes | None
    value: bytes | None
    headers: list[Header]
    timestamp_ms: int


class Valid(NamedTuple):
    """A valid event: in structured mode as JSON, and its record."""

    event: Json
    record: Draft


Maker = Callable[[Valid, Random], Draft]

#: Every deep structure is one of these: deep enough for a parser's stack, and deep enough to break it.
_DEPTHS: Final = (65, 1_000, 10_000, 100_000)
_DEPTH_WEIGHTS: Final = (60.0, 32.0, 7.5, 0.5)
_CONFUSABLES: Final = {"a": "а", "e": "е", "o": "о", "p": "р", "c": "с", "i": "і"}
_SCRIPTS: Final = (
    "学生-乙",
    "طالب-٣",
    "תלמיד",
    "🎓🇨🇳",
    "ｓｔｕ－１",
    "é",
    "e\u0301",
    "ﬃ",
    "𝒮",
)
#: What nobody sees, or what is no text: an identifier with it would be another that looks the same.
_UNSEEN: Final = (
    *("stu\u30001", "stu\u200b1", "\u202estu\u202c", "stu\u00a01", "\ufeffstu", "stu\u00ad1", "🧑\u200d🎓", "stu\ufe0f"),
    *("stu\x85", "stu\u2028", "\u3164", "stu\U000e0041", "\ue000", "stu\ufffd", "stu\U000e0100"),
)
_TIMES: Final = (
    "0000-01-01T00:00:00Z",
    "10000-01-01T00:00:00Z",
    "2026-11-16T23:59:60Z",
    "2026-11-16T08:05:12+99:99",
    "2026-11-16T24:00:00Z",
    "2026-02-30T08:05:12Z",
    "2026-11-16 08:05:12Z",
    "2026-11-16T08:05:12",
    "-2026-11-16T08:05:12Z",
    "2026-11-16T08:05:12." + "9" * 400 + "Z",
    "٢٠٢٦-١١-١٦T08:05:12Z",
    "1795132822",
    "",
    " ",
    "now",
    "NaN",
    "2026-11-16T08:05:12-24:00",
    "2026-11-16T08:05:12Z\n",
    "2200-01-01T00:00:00Z",
    "1969-12-31T23:59:59Z",
    "2026-11-16T08:05:12ZZ",
    "2026-W47-1T08:05:12Z",
    "2026-11-16T08:05:12,5Z",
    "\ufeff2026-11-16T08:05:12Z",
)
_NOT_TEXT: Final[tuple[Any, ...]] = (None, 0, -1, 1.5, True, [], {}, ["x"], {"x": 1}, 10**30)
_NUMBERS: Final = (
    "1e400",
    "-1e400",
    "1e-400",
    "9" * 30,
    "-" + "9" * 30,
    "9" * 5_000,
    "1" + "0" * 30 + ".5",
    "-0",
    "-0.0",
    "0e0",
    "1E5",
    "NaN",
    "Infinity",
    "-Infinity",
    "0x10",
    "01",
    "+1",
    "1.",
    ".5",
    "9223372036854775808",
    "-9223372036854775809",
    "18446744073709551616",
    "1e19",
    "1.0",
    "0.1e1",
    "4.9e-324",
    "true",
    "null",
    '"1"',
    "[1]",
    "{}",
    "1_000",
    "１",
)


def text(event: Json) -> bytes:
    """Return an event as JSON."""
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def _value(spoil: Callable[[bytes, Random], bytes | None]) -> Maker:
    return lambda valid, rng: valid.record._replace(value=spoil(text(valid.event), rng))


def _constant(*values: bytes | None) -> Maker:
    return _value(lambda _value, rng: rng.choice(values))


def _event(change: Callable[[Json, Random], None]) -> Maker:
    """Return a maker that changes a copy of the event."""

    def make(valid: Valid, rng: Random) -> Draft:
        event = {**valid.event, "data": dict(valid.event["data"])}
        change(event, rng)
        return valid.record._replace(value=text(event))

    return make


def _attribute(names: tuple[str, ...], values: tuple[Any, ...]) -> Maker:
    return _event(lambda event, rng: event.__setitem__(rng.choice(names), rng.choice(values)))


def _raw_data(choices: tuple[str, ...]) -> Maker:
    """Return a maker that puts JSON, or nearly JSON, in the place of one field's value."""

    def make(valid: Valid, rng: Random) -> Draft:
        data = dict(valid.event["data"]) or {"score": 0}
        data[rng.choice(sorted(data))] = "@@"
        value = text({**valid.event, "data": data})
        return valid.record._replace(value=value.replace(b'"@@"', rng.choice(choices).encode()))

    return make


def _depth(rng: Random) -> int:
    return rng.choices(_DEPTHS, _DEPTH_WEIGHTS)[0]


def _nested(value: bytes, rng: Random) -> bytes:
    depth = _depth(rng)
    opening, closing = rng.choice([(b"[", b"]"), (b'{"a":', b"}")])
    return value[:-1] + b',"extra":' + opening * depth + b"1" + closing * depth + b"}"


def _unclosed(value: bytes, rng: Random) -> bytes:
    return value[:-1] + b',"extra":' + rng.choice([b"[", b'{"a":']) * _depth(rng)


def _cut(value: bytes, rng: Random) -> bytes:
    return value[: rng.randrange(1, len(value))]


def _flipped(value: bytes, rng: Random) -> bytes:
    spoiled = bytearray(value)
    for _ in range(rng.randrange(1, 6)):
        spoiled[rng.randrange(len(spoiled))] ^= 1 << rng.randrange(8)
    return bytes(spoiled)


def _spliced(value: bytes, rng: Random) -> bytes:
    here, there = rng.randrange(len(value)), rng.randrange(len(value))
    return value[:here] + value[there : there + rng.randrange(1, 200)] + value[here + rng.randrange(40) :]


def _inserted(value: bytes, rng: Random) -> bytes:
    here = rng.randrange(len(value))
    return (
        value[:here]
        + rng.choice([b"\0", b"\xff", b'"', b"\\", b"{", b"]", b",", b"\xed\xa0\x80", b"\xc0\x80", b"\x1b"])
        + value[here:]
    )


def _latin1(value: bytes, _rng: Random) -> bytes:
    return value.replace(b'"source":"', '"source":"/écoles'.encode("latin-1"), 1)


def _surrogate(value: bytes, rng: Random) -> bytes:
    name = rng.choice([b'"id":"', b'"source":"', b'"subject":"'])
    return value.replace(name, name + rng.choice([b"\\ud800", b"\\udfff\\ud800", b"x\\uDC00"]), 1)


def _duplicate(value: bytes, rng: Random) -> bytes:
    name = rng.choice(
        [b'"id":"another",', b'"type":null,', b'"data":{},', b'"time":"2026-11-16T08:05:12Z",', b'"id":"a",' * 3]
    )
    return b"{" + name + value[1:]


def _confusable(event: Json, rng: Random) -> None:
    letter = rng.choice([letter for letter in _CONFUSABLES if letter in event["type"]])
    event["type"] = event["type"].replace(letter, _CONFUSABLES[letter], 1)


def _long(event: Json, rng: Random) -> None:
    length = rng.choice([257, 4_096, 4_096, 60_000])
    event[rng.choice(["id", "source", "type", "subject", "dataschema"])] = rng.choice("xж学") * length


def _crowd(event: Json, rng: Random) -> None:
    name = rng.choice(["roster", "students", "invited", "extra"])
    event["data"] = dict.fromkeys(event["data"], "x") | {name: [f"s{number}" for number in range(100_000)]}
    event["time"] = "never"


def _not_an_object(event: Json, rng: Random) -> None:
    event["data"] = rng.choice([None, [], ["data"], "data", 1, 0.5, False, [[]], ""])


def _base64(event: Json, _rng: Random) -> None:
    del event["data"]
    event["data_base64"] = "eyJhIjoxfQ=="


def _without(event: Json, rng: Random) -> None:
    del event[rng.choice(["specversion", "id", "source", "type", "time", "subject", "dataschema", "data"])]


def _keyed(*keys: bytes | None) -> Maker:
    return lambda valid, rng: valid.record._replace(key=rng.choice(keys), value=text(valid.event))


def binary(valid: Valid) -> Draft:
    """Return the event in binary mode."""
    event = dict(valid.event)
    data = text(event.pop("data"))
    headers: list[Header] = [("content-type", b"application/json")]
    event.pop("datacontenttype", None)
    headers += [(f"ce_{name}", str(content).encode()) for name, content in event.items()]
    return valid.record._replace(value=data, headers=headers)


def _key_alone(valid: Valid, rng: Random) -> Draft:
    """The partition key in the record key alone, in either mode."""
    event = {name: content for name, content in valid.event.items() if name != "partitionkey"}
    if rng.random() < 0.5:
        return valid.record._replace(value=text(event))
    return binary(valid._replace(event=event))


def _headers(change: Callable[[list[Header], Random], None]) -> Maker:
    """Return a maker that changes the headers of the event in binary mode."""

    def make(valid: Valid, rng: Random) -> Draft:
        draft = binary(valid)
        change(draft.headers, rng)
        return draft

    return make


def _twice(headers: list[Header], rng: Random) -> None:
    headers.insert(rng.randrange(len(headers)), (rng.choice(["ce_id", "ce_type", "ce_time", "ce_source"]), b"another"))


def _not_utf8(headers: list[Header], rng: Random) -> None:
    required = [index for index, (name, _) in enumerate(headers) if name in {"ce_id", "ce_source", "ce_type", "ce_time"}]
    index = rng.choice(required)
    headers[index] = (headers[index][0], rng.choice([b"\xff\xfe", b"\xed\xa0\x80", b"\xc0\x80", "é".encode("latin-1")]))


def _lost(headers: list[Header], rng: Random) -> None:
    required = [index for index, (name, _) in enumerate(headers) if name in {"ce_id", "ce_source", "ce_type", "ce_time"}]
    index = rng.choice(required)
    headers[index] = (headers[index][0], rng.choice([None, b"", b" ", b"\0", b"\n"]))


def _strange(headers: list[Header], rng: Random) -> None:
    name = rng.choice(
        ["", " ", "\0", "CE_ID", "Content-Type", "ce_", "ce_data", "ce_id ", "x" * 5_000, "学", "classpulse-reason"]
    )
    headers.insert(rng.randrange(len(headers) + 1), (name, rng.choice([None, b"", b"x", bytes(5_000)])))


def _many(headers: list[Header], rng: Random) -> None:
    count = 10_000 if rng.random() < 0.02 else 200
    headers += [(f"x-{number % 7}", b"y") for number in range(count)]


def _content_type(valid: Valid, rng: Random) -> Draft:
    content_type = rng.choice(
        [b"text/plain", b"application/cloudevents+xml", b"\xff", b"application/cloudevents-batch+json"]
    )
    return valid.record._replace(value=text(valid.event), headers=[("content-type", content_type)])


def _impostor(valid: Valid, rng: Random) -> Draft:
    """The mark of a record that could not be read, on one that has nothing to be read."""
    name = rng.choice(["classpulse-oversized-batch", "classpulse-unreadable"])
    return valid.record._replace(value=None, headers=[(name, rng.choice([None, b"\xff", b"x" * 5_000]))])


def _stamped(valid: Valid, rng: Random) -> Draft:
    """An empty record whose own timestamp no clock shows."""
    return valid.record._replace(value=b"", timestamp_ms=rng.choice([0, 1, 2**41, 2**53, 2**62, 2**63 - 1]))


def _strangely_stamped(valid: Valid, rng: Random) -> Draft:
    """A valid event in a record whose timestamp is missing, or from another age."""
    stamps = [-1, -(2**40), 0, 1, valid.record.timestamp_ms, 2**53, 2**62, 2**63 - 1]
    return valid.record._replace(value=text(valid.event), timestamp_ms=rng.choice(stamps))


def _scripts(event: Json, rng: Random) -> None:
    event["id"] = f"{rng.choice(_SCRIPTS)}{event['id']}"
    event["extension"] = rng.choice((*_SCRIPTS, *_UNSEEN))


def _unseen(event: Json, rng: Random) -> None:
    name = rng.choice(["id", "source", "subject", "partitionkey", "schoolid", "classid"])
    event[name] = f"{event.get(name, '')}{rng.choice(_UNSEEN)}"


def _timetable(event: Json, rng: Random) -> None:
    """A time far from the event's own, which no day of a database may hold."""
    event["recordedtime"] = rng.choice(
        ["1970-01-01T00:00:00+23:59", "2148-12-31T23:59:59-23:59", "2149-06-07T00:00:00Z", "2016-12-31T23:59:60Z"]
    )


def _extensions(event: Json, rng: Random) -> None:
    event.update(
        {f"x{number}": rng.choice([None, 1, "x", [], {"a": [1e308, -0.0]}]) for number in range(rng.randrange(1, 60))}
    )
    event["data"]["unknown"] = {"deep": [[[[1]]]]}


def _spaced(value: bytes, rng: Random) -> bytes:
    space = rng.choice([b" ", b"\n\t", b"\r\n" * 20])
    return space + value[:1] + space + value[1:-1] + space + b"}" + space


def _escaped(valid: Valid, _rng: Random) -> Draft:
    """The same event with every character of its strings escaped."""
    escaped = json.dumps(valid.event, ensure_ascii=True)
    return valid.record._replace(value=escaped.replace("classpulse", "\\u0063lasspulse").encode())


#: Kinds that a broker which checks timestamps turns away, with the whole batch they come in.
TIMESTAMPS: Final = frozenset({"timestamp", "strange timestamp"})
#: Kinds that must be rejected.
REFUSED: Final[dict[str, Maker]] = {
    "empty": _constant(b""),
    "not an event": _constant(
        b" ", b"null", b"[]", b"42", b'"text"', b"{}", b"\0", b"\0" * 500, b"\x1f\x8b\x08", b"<xml/>", b"[{}]"
    ),
    "utf-16": _value(lambda value, rng: value.decode().encode(rng.choice(["utf-16", "utf-16-le", "utf-16-be", "utf-32"]))),
    "latin-1": _value(_latin1),
    "byte order mark": _value(lambda value, _rng: b"\xef\xbb\xbf" + value),
    "overlong utf-8": _value(lambda value, _rng: value.replace(b'"id":"', b'"id":"\xc0\xaf', 1)),
    "encoded surrogate": _value(lambda value, _rng: value.replace(b'"id":"', b'"id":"\xed\xa0\x80', 1)),
    "lone surrogate": _value(_surrogate),
    "null byte": _value(lambda value, _rng: value.replace(b'"id":"', b'"id":"\x00', 1)),
    "trailing": _value(lambda value, rng: value + rng.choice([b"{}", b"]", b"x", b"\0", value])),
    "nested": _value(_nested),
    "unclosed": _value(_unclosed),
    "cut": _value(_cut),
    "duplicate key": _value(_duplicate),
    "wrong type": _attribute(("id", "source", "type", "subject", "dataschema", "specversion"), _NOT_TEXT),
    "impossible time": _attribute(("time",), _TIMES),
    "out of time": _attribute(("time",), ("1970-01-01T00:00:00Z", "2019-12-31T23:59:59Z", "2148-12-31T23:59:59+00:00")),
    "confusable": _event(_confusable),
    "unseen": _event(_unseen),
    "far time": _event(_timetable),
    "long": _event(_long),
    "missing": _event(_without),
    "data of another type": _event(_not_an_object),
    "base64": _event(_base64),
    "key": _keyed(None, b"", b"another", b"\xff\xfe", b"\0", b"k" * 10_000),
    "header twice": _headers(_twice),
    "header not utf-8": _headers(_not_utf8),
    "header lost": _headers(_lost),
    "content type": _content_type,
    "impostor": _impostor,
    "timestamp": _stamped,
}
#: Kinds that must be stored, strange as they look.
STORED: Final[dict[str, Maker]] = {
    "scripts": _event(_scripts),
    "key alone": _key_alone,
    "extensions": _event(_extensions),
    "white space": _value(_spaced),
    "escapes": _escaped,
    "many headers": _headers(_many),
}
#: Kinds whose verdict the contract gives, record by record.
EITHER: Final[dict[str, Maker]] = {
    "numbers": _raw_data(_NUMBERS),
    "flipped": _value(_flipped),
    "spliced": _value(_spliced),
    "inserted": _value(_inserted),
    "strange header": _headers(_strange),
    "null anywhere": _attribute(
        ("partitionkey", "sequence", "schoolid", "classid", "lessonid", "recordedtime", "datacontenttype"), _NOT_TEXT
    ),
    "strange timestamp": _strangely_stamped,
    "sequence": _attribute(("sequence",), ("9" * 18, "9" * 19, "0" * 18, "-1", "1.0", "１２", "", "1e5")),
}
#: Kinds of 100 kB and more, which are rare.
LARGE: Final[dict[str, Maker]] = {
    "many duplicate keys": _value(
        lambda _value, _rng: b"{" + b",".join(b'"a%d":1' % (n // 2) for n in range(80_000)) + b"}"
    ),
    "crowd": _event(_crowd),
    "large value": _value(lambda value, rng: value[:-1] + b',"extra":"' + b"x" * rng.choice([200_000, 900_000]) + b'", }'),
    "large key": lambda valid, _rng: valid.record._replace(key=b"k" * 500_000, value=text(valid.event)),
    "large header": lambda valid, _rng: valid.record._replace(
        headers=[("content-type", b"text/plain"), ("x", bytes(500_000))], value=text(valid.event)
    ),
}
