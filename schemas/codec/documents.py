"""A file to the events in it, byte for byte as they are written, whatever the line breaks.

A file is one JSON array of events, or events one after another with any white space between them or none: NDJSON, one
event pretty-printed over many lines, or a mixture. Only an array, which no record can be, may follow a byte order mark;
before an event it is a part of that event, as it would be in a record.
"""

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

#: An array is read as a whole, so that no item of a broken one is taken for an event.
ARRAY_LIMIT_CHARS: Final = 256 * 1024 * 1024
#: What is read at a time.
READ_BYTES: Final = 1024 * 1024
_BLANKS: Final = re.compile(r"[ \t\r\n]*")
#: What may follow an event on its line: nothing, or another event.
_CLEAN_END: Final = re.compile(r"[ \t\r]*(?:[\n{]|\Z)")
_MARK: Final = "\ufeff"
#: An object is first looked for in so much text: a failing search costs as much as the text that it is given.
_FIRST_CHARS: Final = 4096
#: No token but a string is longer.
_LONGEST_TOKEN_CHARS: Final = 16
_UNTERMINATED: Final = "Unterminated string"
#: Integers stay text: Python refuses to convert very long ones, and nothing here needs their value.
_DECODER: Final = json.JSONDecoder(parse_int=str)


@dataclass(frozen=True, slots=True)
class Document:
    """What stands in a file for one event: ``number`` and ``line``, where it begins, count from 1.

    ``fault`` says why a file that should be an array is none; ``value`` is empty then.
    """

    number: int
    line: int
    value: bytes
    fault: str | None = None


def documents(chunks: Iterable[bytes], limit_bytes: int) -> Iterator[Document]:
    """Yield the documents of a file that comes in ``chunks``; of one that is not valid JSON, as much as belongs together.

    Memory is bounded by the largest document, and by the whole of an array. A document of more than twice ``limit_bytes``
    ends where the next line begins with a brace, whether it is valid or not: it is rejected for its length anyway.
    """
    source = _Source(chunks, 2 * limit_bytes)
    number = 0
    while source.skip_blanks():
        if not number and source.is_array():
            yield from _array(source)
            return
        number += 1
        line = source.line
        yield Document(number, line, source.document())


class _Source:
    """The text of a file from ``position`` on, as far as it has been read. What is not UTF-8 can be written as it came."""

    def __init__(self, chunks: Iterable[bytes], window_chars: int) -> None:
        self._chunks = iter(chunks)
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._window_chars = window_chars
        self.text = ""
        self.position = 0
        self.line = 1
        self.ended = False

    def more(self) -> bool:
        """Read on; returns whether there was anything to read."""
        read = bytearray()
        # Short chunks, such as lines, are taken together: each call copies what has not been taken yet.
        while not self.ended and len(read) < READ_BYTES:
            chunk = next(self._chunks, None)
            self.ended = chunk is None
            read += chunk or b""
        self.text = self.text[self.position :] + self._decoder.decode(read, final=self.ended)
        self.position = 0
        return bool(read)

    def skip_blanks(self) -> bool:
        """Go to the next character that is not white space; returns whether there is one."""
        while True:
            self._go_to(_after_blanks(self.text, self.position))
            if self.position < len(self.text):
                return True
            if not self.more():
                return self.position < len(self.text)

    def is_array(self) -> bool:
        """Return whether an array begins here."""
        while (start := _after_blanks(self.text, self._after_mark())) == len(self.text) and self.more():
            pass
        return self.text.startswith("[", start)

    def document(self) -> bytes:
        """Take the document that begins here."""
        while self._after_mark() == len(self.text) and self.more():
            pass
        if not self.text.startswith("{", self._after_mark()):
            return self._taken_until("\n")
        length = self._object_length()
        if length is None:
            return self._taken_until("\n{")
        while (clean := _CLEAN_END.match(self.text, self.position + length)) and clean.end() == len(self.text):
            if not self.more():
                break
        return self._taken(self.position + length) if clean else self._taken_until("\n", self.position + length)

    def _object_length(self) -> int | None:
        """Return how far the object that begins here reaches, its mark included; None if it is not valid JSON."""
        size = _FIRST_CHARS
        while True:
            while len(self.text) - self.position < size and self.more():
                pass
            start = self._after_mark()
            part = self.text[start : self.position + size]
            try:
                return start - self.position + _DECODER.raw_decode(part)[1]
            except json.JSONDecodeError as error:
                # An error at the end of the part, or in a string that does not end in it, may be due to the cut.
                is_cut = error.pos > len(part) - _LONGEST_TOKEN_CHARS or error.msg.startswith(_UNTERMINATED)
            except RecursionError:
                return None
            is_all = self.ended and start + len(part) == len(self.text)
            if not is_cut or is_all or size > self._window_chars:
                return None
            size *= 4

    def _after_mark(self) -> int:
        return self.position + self.text.startswith(_MARK, self.position)

    def _taken_until(self, boundary: str, begin: int | None = None) -> bytes:
        """Take what stands before ``boundary``, which is looked for from ``begin`` on, or all."""
        begin = self.position if begin is None else begin
        while (found := self.text.find(boundary, begin)) < 0:
            # A boundary may lie across what is read now and what is read next.
            passed = max(begin, len(self.text) - 1) - self.position
            if not self.more():
                return self._taken(len(self.text))
            begin = self.position + passed
        return self._taken(found)

    def _taken(self, end: int) -> bytes:
        taken = self.text[self.position : end]
        self._go_to(end)
        return taken.rstrip(" \t\r\n").encode("utf-8", "surrogateescape")

    def _go_to(self, position: int) -> None:
        self.line += self.text.count("\n", self.position, position)
        self.position = position


def _after_blanks(text: str, position: int) -> int:
    found = _BLANKS.match(text, position)
    return found.end() if found else position


def _array(source: _Source) -> list[Document]:
    """Return the items of the array that begins here as they are written, or what is wrong with it as one document."""
    first_line = source.line
    while len(source.text) <= ARRAY_LIMIT_CHARS and source.more():
        pass
    if not source.ended:
        fault = f"an array of events may have {ARRAY_LIMIT_CHARS:,} characters; write one event a line instead"
        return [Document(1, first_line, b"", fault)]
    try:
        return list(_items(source.text, first_line))
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        position = f"line {line}, column {error.colno}"
        return [Document(1, line, b"", f"the array of events is not valid JSON at {position}: {error.msg}")]
    except RecursionError:
        return [Document(1, first_line, b"", "the array of events is nested too deep to be read")]


def _items(text: str, line: int) -> Iterator[Document]:
    counted = 0
    position = _after_blanks(text, text.index("[") + 1)
    number = 0
    closed = text.startswith("]", position)
    while not closed:
        _, end = _DECODER.raw_decode(text, position)
        line += text.count("\n", counted, position)
        counted = position
        number += 1
        yield Document(number, line, text[position:end].encode("utf-8", "surrogateescape"))
        position = _after_blanks(text, end)
        closed = text.startswith("]", position)
        if not closed:
            if not text.startswith(",", position):
                message = "Expecting ',' delimiter or the end of the array"
                raise json.JSONDecodeError(message, text, position)
            position = _after_blanks(text, position + 1)
    end = _after_blanks(text, position + 1)
    if end != len(text):
        message = "Expecting nothing after the array"
        raise json.JSONDecodeError(message, text, end)
