"""``classpulse topics``."""

import asyncio

import click

from streams import settings as settings_module
from streams import topics as topics_module


@click.group()
def topics() -> None:
    """Create the Kafka topics that are missing."""


@topics.command()
@click.option("--replication", default=1, show_default=True, help="Copies of each partition; 3 in production.")
def create(replication: int) -> None:
    """Create the missing topics of deploy/kafka/topics.yaml; existing ones are left as they are."""
    settings = settings_module.load()
    made = asyncio.run(topics_module.create(settings.kafka, topics_module.declared(), replication))
    for topic in topics_module.declared():
        click.echo(f"{topic.name}: {'created' if topic.name in made else 'already there'}")
