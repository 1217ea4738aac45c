"""``classpulse pseudonym``."""

import click

from schemas.pseudonym import Pseudonymizer
from streams import settings as settings_module
from streams.terminal import echo


@click.command()
@click.argument("student_id", nargs=-1, required=True)
def pseudonym(student_id: tuple[str, ...]) -> None:
    """Print the pseudonym each STUDENT_ID is stored under, with the key in CLASSPULSE_PSEUDONYM_KEY."""
    keyed = Pseudonymizer(settings_module.load().pseudonym_key_bytes())
    for one in student_id:
        echo(keyed.one(one))
