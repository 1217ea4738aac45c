"""``docs/settings.md``: every setting. Made from ``streams/settings.py``."""

from datetime import datetime
from typing import Any, Final, Literal, get_args, get_origin

import annotated_types
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from docs.generate.markdown import code, table
from streams.settings import PREFIX, Settings

__all__ = ["blocks"]

_TYPES: Final[dict[Any, str]] = {
    str: "text",
    SecretStr: "secret",
    int: "whole number",
    float: "number",
    bool: "true or false",
    datetime: "time with zone",
    tuple[float, ...]: "numbers, comma-separated",
}
_UNITS: Final = {"_seconds": "seconds", "_ms": "milliseconds", "_bytes": "bytes", "_rows": "rows"}
#: Defaults that are made at the start of each process, in words.
_MADE_AT_START: Final = {"worker_name": "host name, `-`, process id"}


def blocks() -> dict[str, str]:
    """Return the blocks of ``docs/settings.md`` by name."""
    rows = [
        [code(f"{PREFIX}{name.upper()}"), _type(name, info), _default(name, info), info.description or ""]
        for name, info in Settings.model_fields.items()
    ]
    return {"settings": table(["variable", "type", "default", "meaning"], rows)}


def _type(name: str, info: FieldInfo) -> str:
    if get_origin(info.annotation) is Literal:
        return "one of " + ", ".join(code(choice) for choice in get_args(info.annotation))
    words = [_TYPES.get(info.annotation, str(info.annotation))]
    words += [unit for suffix, unit in _UNITS.items() if name.endswith(suffix)]
    for bound in info.metadata:
        match bound:
            case annotated_types.Gt():
                words.append(f"above {bound.gt}")
            case annotated_types.Ge():
                words.append(f"at least {bound.ge}")
            case annotated_types.Le():
                words.append(f"at most {bound.le}")
            case annotated_types.MinLen():
                words.append("not empty")
    return ", ".join(words)


def _default(name: str, info: FieldInfo) -> str:
    if info.default_factory is not None:
        return _MADE_AT_START[name]
    if isinstance(info.default, SecretStr) or not str(info.default):
        return "none"
    if isinstance(info.default, tuple):
        return code(",".join(map(str, info.default)))
    if isinstance(info.default, bool):
        return code(str(info.default).lower())
    return code(info.default.isoformat() if isinstance(info.default, datetime) else str(info.default))
