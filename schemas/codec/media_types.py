"""Media types as producers write them: in any case, with parameters, white space around ``;`` and quoted values.

Source: RFC 9110, 8.3.1 and 5.6; a charset other than UTF-8 (or ASCII, which is part of it) is rejected. Patterns, so that
the models, whole columns and the exported JSON Schema decide alike; without lookahead, which Rust's engine does not have.
"""

from string import ascii_letters
from typing import Final

#: Longer media types are rejected.
LENGTH_LIMIT: Final = 256
_MARKS: Final = "!#$%&'*+.^_`|~0-9"
_TOKEN: Final = f"[{_MARKS}A-Za-z-]"
_QUOTED: Final = r'"(?:[\t !#-\[\]-~]|\\[\t -~])*"'
_BLANK: Final = r"[ \t]*"
_CHARSETS: Final = ("utf-8", "utf8", "us-ascii", "ascii")


def _any_case(word: str) -> str:
    return "".join(f"[{letter}{letter.upper()}]" if letter.isalpha() else letter for letter in word)


def _other_than(word: str) -> str:
    """Return a pattern for every token but ``word`` in any case."""
    ways = [f"{_any_case(word)}{_TOKEN}+"]
    for index, letter in enumerate(word):
        letters = "".join(other for other in ascii_letters if other.lower() != letter)
        ways.append(f"{_any_case(word[:index])}(?:[{_MARKS}{letters}-]{_TOKEN}*){'?' if index else ''}")
    return f"(?:{'|'.join(ways)})"


def _pattern(media_type: str) -> str:
    charsets = "|".join(_any_case(name) for name in _CHARSETS)
    equals = f"{_BLANK}={_BLANK}"
    charset = f'{_any_case("charset")}{equals}(?:{charsets}|"(?:{charsets})")'
    other = f"{_other_than('charset')}{equals}(?:{_TOKEN}+|{_QUOTED})"
    # Blanks before a semicolon belong to its own round of the repetition, so that no text can be divided in many ways.
    return f"^{_BLANK}{media_type}(?:{_BLANK};(?:{_BLANK}(?:{charset}|{other}))?)*{_BLANK}$"


#: A media type of JSON: its subtype is ``json`` or ends in ``+json`` (CloudEvents JSON format 1.0.2, section 3.1).
JSON: Final = _pattern(f"{_TOKEN}+/(?:{_TOKEN}+\\+)?{_any_case('json')}")
#: The media type of structured mode.
STRUCTURED: Final = _pattern(_any_case("application/cloudevents+json").replace("+", r"\+"))
