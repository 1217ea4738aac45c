"""``classpulse migrate``."""

import click

from sinks.clickhouse import migrations
from streams import settings as settings_module
from streams.cli.reading import away_is_final
from streams.output.terminal import echo


@click.command()
@click.option("--user", help="A user that may create databases and tables; default: CLASSPULSE_CLICKHOUSE_USER.")
@click.option("--password-env", default="CLASSPULSE_CLICKHOUSE_PASSWORD", show_default=True, help="Where its password is.")
def migrate(user: str | None, password_env: str) -> None:
    """Bring the ClickHouse database up to date; safe to run again.

    Each migration is applied once, in order. A migration whose text changed after it was applied is rejected.
    """
    settings = settings_module.load_for_admin(user, password_env)
    with away_is_final(settings.clickhouse, "CLASSPULSE_CLICKHOUSE_URL"):
        for migration, applied in migrations.migrate(settings.clickhouse):
            echo(f"{migration.number:04} {migration.name}: {'applied' if applied else 'already there'}")
