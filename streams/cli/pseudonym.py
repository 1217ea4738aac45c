"""``classpulse pseudonym``."""

import click

from schemas.events.pseudonym import Pseudonymizer, fingerprint
from sinks.stores.pseudonym_keys import compare
from streams import settings as settings_module
from streams.output.terminal import echo


@click.command()
@click.argument("student_id", nargs=-1, required=True)
def pseudonym(student_id: tuple[str, ...]) -> None:
    """Print the pseudonym each STUDENT_ID is stored under, with the key in CLASSPULSE_PSEUDONYM_KEY.

    \b
    Exit status: 0, or 2 if the database was filled with another key. Where it cannot be asked, a line says so.
    """
    settings = settings_module.load()
    key = settings.pseudonym_key_bytes()
    if not compare(settings.clickhouse, fingerprint(key)):
        echo("classpulse: ClickHouse could not be asked whether this is its key", err=True)
    keyed = Pseudonymizer(key)
    for one in student_id:
        echo(keyed.one(one))
