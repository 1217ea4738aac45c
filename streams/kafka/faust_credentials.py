"""The access to Kafka, as Faust wants it."""

import faust

from streams.kafka.access import KafkaAccess


def credentials(access: KafkaAccess) -> faust.SASLCredentials | faust.SSLCredentials | None:
    """Return Faust's ``broker_credentials``; None without protection. Raises :class:`schemas.errors.MustStop`."""
    context = access.ssl_context()
    if access.uses_sasl:
        return faust.SASLCredentials(
            username=access.user, password=access.password, ssl_context=context, mechanism=access.mechanism
        )
    return faust.SSLCredentials(context) if context is not None else None
