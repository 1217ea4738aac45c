"""``classpulse topics``."""

import asyncio

import click
from aiokafka.errors import BrokerResponseError, KafkaError

from schemas.errors import MustStop
from streams import settings as settings_module
from streams.kafka import acls as kafka_acls
from streams.kafka import topics as topics_module
from streams.kafka.access import KafkaAccess
from streams.output.terminal import echo


@click.group()
def topics() -> None:
    """Create the Kafka topics that are missing."""


@topics.command()
@click.option(
    "--replication",
    default=1,
    show_default=True,
    type=click.IntRange(1, 100),
    help="Copies of each partition; 3 in production.",
)
@click.option("--acls", is_flag=True, help="Also grant the rights of streams/kafka/acls.yaml.")
def create(replication: int, acls: bool) -> None:
    """Create the missing topics of streams/kafka/topics.yaml; existing ones are left as they are."""
    made = asyncio.run(_create(settings_module.load().kafka_access, replication, acls=acls))
    for topic in topics_module.declared():
        echo(f"{topic.name}: {'created' if topic.name in made else 'already there'}")


async def _create(access: KafkaAccess, replication: int, *, acls: bool) -> list[str]:
    await access.require()
    try:
        made = await topics_module.create(access.client_options(), topics_module.declared(), replication)
        if acls:
            await kafka_acls.grant(access.client_options(), kafka_acls.declared())
    except BrokerResponseError as error:
        remedy = "Run it as a user who may CREATE these topics (streams/kafka/acls.yaml: classpulse_admin)"
        raise MustStop(f"Kafka refuses ({error!r})", remedy) from error
    except KafkaError as error:
        remedy = "CLASSPULSE_KAFKA says where it is"
        raise MustStop(f"No Kafka answers at {access.bootstrap} ({error!r})", remedy) from error
    return made
