"""The options by which ``classpulse dlq`` selects dead letters."""

import time
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Any, Final
from zoneinfo import ZoneInfo

import click

from schemas.codec.records import Reason
from schemas.events.event_types import FAMILIES
from streams.dlq.records import RecordPosition, Selection, moment_ms
from streams.settings import Settings

_TOPICS: Final = {name: family.topic for family in FAMILIES for name in (family.topic, family.name)}


class PositionType(click.ParamType):
    """A position of a record, as the tables print it."""

    name = "position"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> RecordPosition:
        """Read it; a mistake is answered with how it is written."""
        if isinstance(value, RecordPosition):
            return value
        try:
            return RecordPosition.parse(value)
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)


def _known_reasons(_context: click.Context, _option: click.Parameter, given: Sequence[str]) -> Sequence[str]:
    for reason in given:
        if reason not in set(Reason):
            near = get_close_matches(reason, list(Reason), n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise click.BadParameter(f"{reason!r} is no reason; {hint}There are: {', '.join(Reason)}.")
    return given


_OPTIONS: Final = (
    click.option(
        "--reason", "reasons", multiple=True, callback=_known_reasons, metavar="REASON", help="Rejected for this reason."
    ),
    click.option("--field", "fields", multiple=True, metavar="PATTERN", help="This field is to blame: data.score, data.*"),
    click.option("--source", "sources", multiple=True, metavar="PATTERN", help="CloudEvents source: '/schools/s07/*'."),
    click.option(
        "--type", "types", multiple=True, metavar="PATTERN", help="Event type: classroom.answer.submitted, 'prep.*'."
    ),
    click.option(
        "--topic",
        "topics",
        multiple=True,
        type=click.Choice(list(_TOPICS)),
        metavar="TOPIC",
        help="Rejected in this topic.",
    ),
    click.option("--since", metavar="TIME", help="Rejected since: 2h, 3d (ago), or 2026-11-16T08:05."),
    click.option("--until", metavar="TIME", help="Rejected before."),
)


def selecting(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give ``command`` the options; what they hold goes to :func:`selected`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def selected(settings: Settings, positions: Sequence[RecordPosition] = (), **given: Any) -> Selection:
    """Return what the options of :func:`selecting` select; raises ``click.BadParameter``."""
    return Selection(
        reasons=frozenset(given["reasons"]),
        topics=frozenset(_TOPICS[topic] for topic in given["topics"]),
        fields=tuple(given["fields"]),
        sources=tuple(given["sources"]),
        types=tuple(given["types"]),
        since_ms=_moment(settings, "--since", given["since"]),
        until_ms=_moment(settings, "--until", given["until"]),
        positions=frozenset(positions),
    )


def _moment(settings: Settings, option: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return moment_ms(text, int(time.time() * 1000), ZoneInfo(settings.time_zone))
    except ValueError as error:
        raise click.BadParameter(f"{text!r}: {error}", param_hint=option) from None
