"""No student id passes, and a pseudonym is what it is documented to be."""

import hashlib
import hmac

import polars as pl
import pytest

from schemas.events.fields import STUDENT_FIELDS
from schemas.events.pseudonym import Pseudonymizer

KEY = b"a key of sufficient length"


def test_a_pseudonym_is_the_documented_hash() -> None:
    """``p`` and 32 hexadecimal digits of HMAC-SHA256, so that others can compute it with the key."""
    digest = hmac.new(KEY, "学生-1".encode(), hashlib.sha256).hexdigest()
    assert Pseudonymizer(KEY).one("学生-1") == "p" + digest[:32]


def test_ids_are_replaced_in_every_student_column_and_nowhere_else() -> None:
    """Single ids and lists are replaced alike; nulls, empty lists and other columns stay."""
    events = pl.DataFrame(
        {
            "student_id": ["a", None, "b", "a"],
            "roster": [["a", "c"], None, [], ["b"]],
            "students": pl.Series([None, None, None, None], dtype=pl.List(pl.String)),
            "teacher_id": ["a", "b", None, "a"],
        }
    )
    keyed = Pseudonymizer(KEY)
    a, b, c = keyed.one("a"), keyed.one("b"), keyed.one("c")
    replaced = keyed.apply(events)
    assert replaced["student_id"].to_list() == [a, None, b, a]
    assert replaced["roster"].to_list() == [[a, c], None, [], [b]]
    assert replaced["students"].to_list() == [None] * 4
    assert replaced["teacher_id"].to_list() == ["a", "b", None, "a"]
    assert replaced.schema == events.schema
    assert set(events.columns) >= STUDENT_FIELDS


def test_rosters_of_nobody_are_no_fault() -> None:
    """A batch whose only lists are empty has no id to hash and comes back unchanged."""
    events = pl.DataFrame({"roster": pl.Series([[], None, []], dtype=pl.List(pl.String))})
    assert Pseudonymizer(KEY).apply(events).equals(events)


def test_rows_from_the_middle_of_a_table_are_replaced() -> None:
    """Lists that do not begin at their table's first row are replaced like others."""
    keyed = Pseudonymizer(KEY)
    events = pl.DataFrame({"roster": [["x"], ["a", "b"], None, [], ["c"], ["y"]]}).slice(1, 4)
    assert keyed.apply(events)["roster"].to_list() == [[keyed.one("a"), keyed.one("b")], None, [], [keyed.one("c")]]


def test_another_key_gives_other_pseudonyms() -> None:
    """Without the key a pseudonym cannot be found again."""
    assert Pseudonymizer(KEY).one("a") != Pseudonymizer(KEY + b"!").one("a")


def test_a_short_key_is_rejected_with_the_remedy() -> None:
    """15 bytes are too few; the message says how to make a key and does not show this one."""
    with pytest.raises(ValueError, match="openssl rand -hex 32") as caught:
        Pseudonymizer(b"fifteen bytes..")
    assert "fifteen" not in str(caught.value)


def test_the_key_is_not_printed() -> None:
    """Neither repr nor str shows the key."""
    shown = f"{Pseudonymizer(KEY)!r} {Pseudonymizer(KEY)}"
    assert "sufficient" not in shown


def test_two_spellings_are_one_student_and_are_counted() -> None:
    """Full-width digits and a composed letter say the same id; how many ids came in another spelling is known."""
    keyed = Pseudonymizer(KEY)
    spelled = ["stu-1", "ｓｔｕ－１", "stu-１", "é", "e\u0301"]
    assert len({keyed.one(student_id) for student_id in spelled[:3]}) == 1
    assert keyed.one(spelled[3]) == keyed.one(spelled[4])
    assert keyed.respelled == 3
    assert keyed.one("stu-1") != keyed.one("STU-1")
