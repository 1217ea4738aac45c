"""The rights on Kafka, declared once in ``streams/kafka/acls.yaml``, and how they are granted."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

import yaml
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    KafkaConnectionError,
    SecurityDisabled,
    for_code,
)
from aiokafka.protocol.admin import CreateAclsRequest, CreateAclsRequest_v1, DescribeAclsRequest

from schemas.errors import MustStop, RetryLater

REQUEST_SECONDS: Final = 20.0
#: A broker hears of new rights from the controller after a moment.
SETTLE_SECONDS: Final = 20.0
POLL_SECONDS: Final = 0.1

# Numbers of Kafka's protocol.
_ANY: Final = 1
_TOPIC, _GROUP, _CLUSTER = 2, 3, 4
_LITERAL, _PREFIXED = 3, 4
_ALLOW: Final = 3
_OPERATIONS: Final = {
    "READ": 3,
    "WRITE": 4,
    "CREATE": 5,
    "DELETE": 6,
    "ALTER": 7,
    "DESCRIBE": 8,
    "DESCRIBE_CONFIGS": 10,
    "ALTER_CONFIGS": 11,
    "IDEMPOTENT_WRITE": 12,
}
#: What Kafka calls the cluster as a resource.
_CLUSTER_NAME: Final = "kafka-cluster"


@dataclass(frozen=True, slots=True)
class Right:
    """One user may do one thing with one resource, from any address. The numbers are Kafka's."""

    user: str
    operation: str
    resource_type: int
    resource: str
    pattern_type: int


def declared() -> list[Right]:
    """Return every right of the declaration. Raises ``ValueError`` for an entry that says nothing."""
    text = files("streams.kafka").joinpath("acls.yaml").read_text(encoding="utf-8")
    users = yaml.safe_load(text)["users"]
    return [right for user, entries in users.items() for entry in entries for right in _rights(user, entry)]


def _rights(user: str, entry: Mapping[str, Any]) -> list[Right]:
    resources = [
        *((_TOPIC, name, _LITERAL) for name in entry.get("topics", ())),
        *((_TOPIC, name, _PREFIXED) for name in entry.get("prefixes", ())),
        *((_GROUP, name, _LITERAL) for name in entry.get("groups", ())),
        *([(_CLUSTER, _CLUSTER_NAME, _LITERAL)] if entry.get("cluster") else []),
    ]
    rights = [Right(user, operation, *resource) for resource in resources for operation in entry["operations"]]
    unknown = {right.operation for right in rights} - set(_OPERATIONS)
    if unknown or not rights:
        raise ValueError(f"streams/kafka/acls.yaml: {user}: {entry} has no resource, or the unknown operations {unknown}")
    return rights


class _CreateAll(CreateAclsRequest):  # type: ignore[misc]  # aiokafka has no types
    """aiokafka's request takes one right; Kafka's takes many, and grants them together."""

    def __init__(self, rights: Sequence[Right]) -> None:
        self._rights = rights

    def build(self, request_struct_class: type[CreateAclsRequest_v1]) -> CreateAclsRequest_v1:
        if request_struct_class is not CreateAclsRequest_v1:
            raise MustStop("This Kafka is older than 2.0, which knows no prefixes in rights", "Use Kafka 2.0 or later")
        return request_struct_class(
            [
                (
                    right.resource_type,
                    right.resource,
                    right.pattern_type,
                    f"User:{right.user}",
                    "*",
                    _OPERATIONS[right.operation],
                    _ALLOW,
                )
                for right in self._rights
            ]
        )


async def grant(client_options: Mapping[str, Any], rights: Sequence[Right]) -> None:
    """Grant the rights, and wait until every broker knows them. Others stay as they are: nothing is ever taken away.

    ``client_options`` are those of a user that may ALTER the cluster. Raises :class:`MustStop` when the user may not, or
    the broker checks no rights; :class:`RetryLater` when a broker does not hear of them; and ``KafkaError``.
    """
    client = AIOKafkaClient(**client_options, client_id="classpulse-acls", request_timeout_ms=int(REQUEST_SECONDS * 1000))
    try:
        await client.bootstrap()
        nodes = [broker.nodeId for broker in client.cluster.brokers()]
        answer = await _send(client, nodes[0], _CreateAll(rights))
        for code, _message in answer.creation_responses:
            if code:
                raise _explained(for_code(code))
        await _settled(client, nodes, {_as_found(right) for right in rights})
    finally:
        await client.close()


async def _settled(client: AIOKafkaClient, nodes: Sequence[int], granted: set[tuple[Any, ...]]) -> None:
    deadline = time.monotonic() + SETTLE_SECONDS
    everything = DescribeAclsRequest(_ANY, None, _ANY, None, None, _ANY, _ANY)
    waiting = list(nodes)
    while waiting:
        answer = await _send(client, waiting[0], everything)
        if answer.error_code:
            raise _explained(for_code(answer.error_code))
        if granted <= {(*resource, *acl) for *resource, acls in answer.resources for acl in acls}:
            del waiting[0]
        elif time.monotonic() >= deadline:
            raise RetryLater(f"Kafka's broker {waiting[0]} does not know the rights that were granted. Repeat the command")
        else:
            await asyncio.sleep(POLL_SECONDS)


async def _send(client: AIOKafkaClient, node: int, request: Any) -> Any:
    if not await client.ready(node):
        raise KafkaConnectionError(f"broker {node} takes no connection")
    return await client.send(node, request)


def _as_found(right: Right) -> tuple[Any, ...]:
    """The right as Kafka lists it."""
    principal = f"User:{right.user}"
    return right.resource_type, right.resource, right.pattern_type, principal, "*", _OPERATIONS[right.operation], _ALLOW


def _explained(error: type[Exception]) -> Exception:
    if error is ClusterAuthorizationFailedError:
        return MustStop(
            "This Kafka user may not grant rights", "Run it as a super user, or as one with ALTER on the cluster"
        )
    if error is SecurityDisabled:
        return MustStop(
            "This Kafka checks no rights",
            "Set its authorizer.class.name (org.apache.kafka.metadata.authorizer.StandardAuthorizer), or leave out --acls",
        )
    return error()
