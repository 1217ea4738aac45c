"""The table ``evaluation_configs``: which configuration scores which week. Append-only.

A configuration counts from a week on. A week is scored by the one activated last among those that had begun by then, so a
late event revises an old week under its own configuration, and old scores keep theirs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from clickhouse_connect.driver.client import Client

from schemas.errors import RetryLater
from schemas.evaluation.config import parse
from schemas.evaluation.indicators import indicator_metric
from schemas.evaluation.tree import KINDS, Evaluation
from sinks.clickhouse.answers import FAR_FUTURE, bound, instant
from sinks.clickhouse.client import WRITE_SETTINGS

__all__ = ["EVALUATOR", "FIRST_WEEK", "NODE_COLUMNS", "Activator", "Config", "activate", "config_of", "configs"]

#: The first configuration of a database counts for every week: a Monday before any event that is accepted.
FIRST_WEEK: Final = date(1970, 1, 5)
_ATTEMPTS: Final = 5
NODE_COLUMNS: Final = (
    "config_version",
    "kind",
    "number",
    "node",
    "depth",
    "chinese",
    "english",
    "own_weight",
    "weight",
    "metric",
    "item",
    "unit",
    "norm",
    "min_sample",
    "about",
)
_SQL: Final = """SELECT toInt64(config_version), checksum, from_week, yaml, activated_at,
    activated_by, reason, database_user, host_user
FROM evaluation_configs WHERE activated_at <= {as_of:DateTime64(3, 'UTC')}
ORDER BY activated_at, config_version, checksum"""


@dataclass(frozen=True, slots=True)
class Activator:
    """Who lets a configuration count, and why, by their own word.

    ``database_user`` is who they are to ClickHouse, ``host_user`` the account and the host of the program.
    """

    person: str
    reason: str
    database_user: str = ""
    host_user: str = ""


#: The evaluator gives a database without a configuration the packaged default.
EVALUATOR: Final = Activator("classpulse evaluate", "no configuration was active; this is the packaged default")


@dataclass(frozen=True, slots=True)
class Config:
    """One activation. ``from_week`` is a Monday; ``yaml`` the file as it was; who and why are empty where unknown."""

    version: int
    checksum: str
    from_week: date
    yaml: str
    activated_at: datetime
    activated_by: str = ""
    reason: str = ""
    database_user: str = ""
    host_user: str = ""

    def evaluation(self) -> Evaluation:
        """Return the configuration. Raises :class:`MustStop` if this program no longer understands it."""
        return parse(self.yaml, f"evaluation configuration {self.version}")


def configs(client: Client, as_of: datetime) -> list[Config]:
    """Return every activation up to ``as_of``, oldest first.

    Where two who activated at one instant took the same number, it belongs to the first; the other takes the next.
    """
    rows = client.query(_SQL, parameters=bound({"as_of": as_of})).result_rows
    found = [
        Config(version, checksum, from_week, text, instant(at), *who)
        for version, checksum, from_week, text, at, *who in rows
    ]
    owners: dict[int, str] = {}
    return [config for config in found if owners.setdefault(config.version, config.checksum) == config.checksum]


def config_of(activations: Sequence[Config], week: date) -> Config | None:
    """Return the one that scores ``week``: the latest activated of those that had begun by then."""
    begun = [config for config in activations if config.from_week <= week]
    return begun[-1] if begun else None


def activate(client: Client, yaml_text: str, *, now: datetime, from_week: date, activator: Activator = EVALUATOR) -> Config:
    """Let a configuration count from ``from_week`` (a Monday) on; returns it with its version.

    What is active already, with the same content for the same week, stays as it is. Content that was active before gets
    its version again. The first configuration of a database counts for every week.
    Raises :class:`MustStop` that names what is wrong in the text; :class:`RetryLater` if others activate all the time.
    """
    evaluation = parse(yaml_text)
    checksum = evaluation.checksum
    who = (activator.person, activator.reason, activator.database_user, activator.host_user)
    for _attempt in range(_ATTEMPTS):
        known = configs(client, FAR_FUTURE)
        active = config_of(known, from_week)
        if active is not None and active.checksum == checksum:
            return active
        version = next(
            (config.version for config in known if config.checksum == checksum),
            max((config.version for config in known), default=0) + 1,
        )
        first = from_week if known else FIRST_WEEK
        # A clock that is behind must not put it before the one it follows.
        activated_at = max([now, *(config.activated_at + timedelta(milliseconds=1) for config in known[-1:])])
        client.insert(
            "evaluation_configs",
            [[version, checksum, first, yaml_text, activated_at, *who]],
            column_names=[
                "config_version",
                "checksum",
                "from_week",
                "yaml",
                "activated_at",
                "activated_by",
                "reason",
                "database_user",
                "host_user",
            ],
            settings=WRITE_SETTINGS,
        )
        activated = Config(version, checksum, first, yaml_text, activated_at, *who)
        if any((config.version, config.checksum) == (version, checksum) for config in configs(client, FAR_FUTURE)):
            _insert_nodes(client, evaluation, version)
            return activated
    raise RetryLater("Could not activate the evaluation: others activate at the same time")


def _insert_nodes(client: Client, evaluation: Evaluation, version: int) -> None:
    rows: list[list[object]] = []
    for kind in KINDS:
        for number, node in enumerate(evaluation.nodes(kind)):
            part = node.indicator
            indicator: list[object] = ["", "", "", "", 0]
            if part is not None:
                unit = indicator_metric(part.metric, part.item).unit
                indicator = [part.metric, part.item, unit, part.norm.words, part.min_sample]
            own = [node.path, node.depth, node.chinese, node.english, node.weight, node.share]
            rows.append([version, kind, number, *own, *indicator, node.about])
    client.insert("evaluation_nodes", rows, column_names=NODE_COLUMNS, settings=WRITE_SETTINGS)
