"""What each user of the embedded engine may do: what `deploy/clickhouse/users.xml` grants in production, and no more.

The engine has one user, so each user of the file becomes a role of the same name with the same grants. Added to them is
OWNER, who may do everything: tests and benchmarks make databases of their own, and nobody in production may.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Final
from xml.etree import ElementTree as ET

__all__ = ["OWNER", "READABLE_SYSTEM_TABLES", "Profile", "Rights", "rights"]

OWNER: Final = "embedded_owner"
#: The tables of the database `system` that a server shows to everybody. The engine as a library shows them all, among
#: them the statements of other users.
READABLE_SYSTEM_TABLES: Final = frozenset(
    {
        "one",
        "contributors",
        "licenses",
        "time_zones",
        "collations",
        "formats",
        "privileges",
        "data_type_families",
        "database_engines",
        "table_engines",
        "table_functions",
        "disk_types",
        "dictionary_layouts",
        "aggregate_function_combinators",
        "completions",
        "functions",
        "databases",
        "tables",
        "columns",
        "settings",
        "current_roles",
        "enabled_roles",
        "quota_usage",
    }
)


class Profile(StrEnum):
    """`owner` may do everything, `writer` what its role grants, `readonly` may read what its role grants."""

    OWNER = "owner"
    WRITER = "writer"
    READONLY = "readonly"


@dataclass(frozen=True, slots=True)
class Rights:
    """The rights of one user: grants as SQL, its profile's settings (names and text values) and `readonly` (0, 1, 2)."""

    profile: Profile
    grants: tuple[str, ...]
    settings: Mapping[str, str]
    readonly: int = 0


@cache
def rights() -> Mapping[str, Rights]:
    """Return the rights of every user by name, OWNER first."""
    text = files("deploy").joinpath("clickhouse", "users.xml").read_text(encoding="utf-8")
    root = ET.fromstring(text)  # noqa: S314 (a file of this package)
    found = {OWNER: Rights(Profile.OWNER, ("GRANT ALL ON *.* WITH GRANT OPTION",), {})}
    for user in root.iterfind("users/*[grants]"):
        profile = root.find(f"profiles/{user.findtext('profile')}")
        items: Iterable[ET.Element] = () if profile is None else profile
        settings = {item.tag: (item.text or "").strip() for item in items if not len(item)}
        readonly = int(settings.pop("readonly", "0"))
        kind = Profile.READONLY if readonly else Profile.WRITER
        grants = tuple((query.text or "").strip() for query in user.iterfind("grants/query"))
        found[user.tag] = Rights(kind, grants, settings, readonly)
    return found
