"""A device: sends one classroom event to Kafka, and writes the same event to event.json.

Needs aiokafka. The address, the user and the password of Kafka come from the environment (docs/connect.md lists the
variables), so the program works with the development stack and with a district's Kafka alike:

    python device.py
"""

import asyncio
import json
import os
import uuid
from datetime import UTC, datetime
from pathlib import Path

from aiokafka import AIOKafkaProducer
from aiokafka.helpers import create_ssl_context

TOPIC = "classpulse.classroom"
LESSON_ID = "lesson-s07-c2-20261116-1"


def event() -> dict[str, object]:
    """Return a CloudEvents 1.0 message: a student raised a hand."""
    return {
        "specversion": "1.0",
        "id": str(uuid.uuid4()),  # an event that is sent again after an outage keeps its id
        "source": "/schools/s07/devices/tablet-0113",
        "type": "io.classpulse.classroom.hand.raised.v1",
        "dataschema": "urn:classpulse:classroom.hand.raised:1.0",
        "time": datetime.now(UTC).isoformat(),
        "subject": LESSON_ID,
        "partitionkey": LESSON_ID,
        "schoolid": "s07",
        "data": {"student_id": "stu-004211"},
    }


async def send(value: bytes) -> None:
    """Send one event and wait until Kafka has acknowledged it."""
    security = os.environ.get("CLASSPULSE_KAFKA_SECURITY", "PLAINTEXT")
    producer = AIOKafkaProducer(
        bootstrap_servers=os.environ.get("CLASSPULSE_KAFKA", "127.0.0.1:9092"),
        security_protocol=security,
        sasl_mechanism=os.environ.get("CLASSPULSE_KAFKA_MECHANISM", "SCRAM-SHA-512"),
        sasl_plain_username=os.environ.get("CLASSPULSE_KAFKA_USER"),
        sasl_plain_password=os.environ.get("CLASSPULSE_KAFKA_PASSWORD"),
        ssl_context=create_ssl_context(cafile=os.environ.get("CLASSPULSE_KAFKA_CA_FILE")) if "SSL" in security else None,
        acks="all",
    )
    await producer.start()
    try:
        content_type = ("content-type", b"application/cloudevents+json")
        await producer.send_and_wait(TOPIC, value, key=LESSON_ID.encode(), headers=[content_type])
    finally:
        await producer.stop()


if __name__ == "__main__":
    text = json.dumps(event())
    asyncio.run(send(text.encode()))
    Path("event.json").write_text(text, encoding="utf-8")
