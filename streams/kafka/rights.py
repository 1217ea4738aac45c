"""Whether this user may do what a worker does; asked once at its start, since deeper inside a rejection is silence."""

from collections.abc import Sequence
from typing import Final

from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import GroupAuthorizationFailedError, KafkaError, TopicAuthorizationFailedError
from aiokafka.protocol.metadata import MetadataRequest

from schemas.errors import MustStop
from streams.kafka.access import KafkaAccess

REQUEST_SECONDS: Final = 5.0
_REMEDY: Final = "Grant the rights of streams/kafka/acls.yaml: `classpulse topics create --acls`, as a user that may"


async def check(access: KafkaAccess, group: str, topics: Sequence[str]) -> None:
    """Raises :class:`MustStop` when Kafka does not show this user a topic, or keeps it out of the group.

    Without users there are no rights, and nothing is asked. A broker that does not answer is no error here.
    """
    if not access.uses_sasl:
        return
    client = AIOKafkaClient(
        **access.client_options(), client_id="classpulse-check", request_timeout_ms=int(REQUEST_SECONDS * 1000)
    )
    try:
        await client.bootstrap()
        hidden = await _hidden(client, topics)
        if hidden:
            raise MustStop(f"Kafka lets the user {access.user} not see {', '.join(hidden)}", _REMEDY)
        await client.coordinator_lookup(CoordinationType.GROUP, group)
    except GroupAuthorizationFailedError:
        raise MustStop(f"Kafka keeps the user {access.user} out of the group {group}", _REMEDY) from None
    except (KafkaError, OSError, TimeoutError):
        return
    finally:
        await client.close()


async def _hidden(client: AIOKafkaClient, topics: Sequence[str]) -> list[str]:
    answer = await client.send(client.get_random_node(), MetadataRequest(list(topics), allow_auto_topic_creation=False))
    return sorted(name for code, name, *_ in answer.topics if code == TopicAuthorizationFailedError.errno)
