"""Media types as producers write them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import media_types

JSON = [
    *("application/json", "APPLICATION/JSON", "text/json", "application/vnd.school.v2+json", "\tapplication/json "),
    *("application/json; charset=utf-8", "application/json;charset=us-ascii", "application/json;charset=UTF-8"),
    *('application/json ; Charset="Utf-8"', "application/json;;", "application/json;v=1;w=2", "application/json;char=gbk"),
    *('application/json;profile="a;b\\"c"', "application/json;charsets=gbk"),
]
OTHERS = [
    *("", "json", "application/", "/json", "application/xml", "application/jsonl", "application/json+xml"),
    *("application/+json", "application/json; charset=gbk", 'application/json;charset="gbk"', "application/json;p=数"),
    *("application/json;CHARSET=utf-16", "application/json;charset=utf-8;charset=gbk", "application/json;charset"),
    *("application/json;=x", "application/json x", "application/json, text/json", 'application/json;p="open'),
    *("application/json\n", 'application/json;charset="g\\bk"', "application/json;charset=utf-8x"),
]


@pytest.mark.parametrize("text", JSON)
def test_a_media_type_of_json_is_one_in_every_spelling(text: str) -> None:
    """Case, parameters, white space and quotes do not matter."""
    assert re.fullmatch(media_types.JSON, text)


@pytest.mark.parametrize("text", OTHERS)
def test_another_media_type_another_charset_and_nonsense_are_rejected(text: str) -> None:
    """What is not JSON in UTF-8, or no media type at all."""
    assert not re.fullmatch(media_types.JSON, text)


@given(st.from_regex(r"\A[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}\Z"), st.sampled_from(["gbk", '"utf-16"', "utf-8", "x"]))
def test_a_parameter_is_judged_only_if_it_is_called_charset(name: str, value: str) -> None:
    """Any other name may have any value; the pattern has to say so without looking ahead."""
    allowed = name.lower() != "charset" or value == "utf-8"
    assert bool(re.fullmatch(media_types.JSON, f"application/json;{name}={value}")) == allowed


def test_no_text_takes_long() -> None:
    """A text of the greatest length that fails at its end is judged at once: there is one way to divide it."""
    for part in ("; ", " ;", ";a=b ", '; a="\\"" ', ";charset = utf-8"):
        assert not re.fullmatch(media_types.JSON, f"application/json{part * 60}\n")
