"""A topic that is not there, or not whole, is named with what to do; on Apache Kafka."""

import asyncio
import subprocess
import sys

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from deploy.local.apache import ApacheCluster
from streams.kafka import topic_watch
from streams.kafka.topic_watch import TopicWatch
from streams.kafka.topics import Topic, create
from streams.pipeline.telemetry import Telemetry

WHOLE, GONE, SMALL = (Topic(f"watched-{name}", 3, {}) for name in ("whole", "gone", "small"))


def test_what_is_missing_is_named_until_it_is_there(apache: ApacheCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing at first, with too few partitions, deleted later: not ready, the gauge counts; whole: nothing to say."""
    monkeypatch.setattr(topic_watch, "CHECK_SECONDS", 0.0)
    telemetry = Telemetry()

    def missing(topic: Topic) -> float | None:
        return telemetry.registry.get_sample_value("classpulse_missing_partitions", {"topic": topic.name})

    async def until(watch: TopicWatch, problems: int) -> str:
        for _ in range(300):
            await watch.step()
            if len(watch.problems) == problems:
                return "\n".join(watch.problems)
            await asyncio.sleep(0.1)
        raise AssertionError(f"expected {problems} problems, got {watch.problems}")

    async def scenario() -> None:
        options = {"bootstrap_servers": apache.bootstrap}
        await create(options, [WHOLE, Topic(SMALL.name, 1, {})])
        watch = TopicWatch(options, [WHOLE, GONE, SMALL], telemetry)
        try:
            said = await until(watch, 2)
            assert f"Kafka has no topic {GONE.name}: run `classpulse topics create`" in said
            assert f"{SMALL.name} has 1 of 3 partitions" in said
            assert [missing(topic) for topic in (WHOLE, GONE, SMALL)] == [0, 3, 2]
            await create(options, [GONE])
            await until(watch, 1)
            assert missing(GONE) == 0
            admin = AIOKafkaAdminClient(**options)
            await admin.start()
            await admin.delete_topics([WHOLE.name])
            await admin.close()
            assert WHOLE.name in await until(watch, 2)
        finally:
            await watch.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("code", "partitions", "led", "said"),
    [
        (29, 0, 0, "does not show the topic watched-whole to this user: run `classpulse topics create --acls`"),
        (3, 0, 0, "has no topic watched-whole: run `classpulse topics create`"),
        (0, 2, 2, "has 2 of 3 partitions"),
        (0, 3, 1, "has 2 partitions that no broker leads"),
        (0, 3, 3, None),
        (0, 12, 12, None),
    ],
)
def test_each_problem_has_its_remedy(code: int, partitions: int, led: int, said: str | None) -> None:
    """Without the right to see it, missing, too small, without leaders; more partitions than declared are a choice."""
    problem = topic_watch._problem(WHOLE, code, partitions, led)
    assert (problem is None) if said is None else (said in (problem or ""))


def test_an_absent_broker_is_for_others_to_report() -> None:
    """What was found last stands while no broker answers, and nothing is raised."""
    watch = TopicWatch({"bootstrap_servers": "127.0.0.1:1"}, [WHOLE], Telemetry())
    watch.problems = ("as it was",)
    asyncio.run(watch.step())
    assert watch.problems == ("as it was",)


def test_asking_creates_nothing() -> None:
    """A broker that makes what it is asked for, as Kafka does by default, is told not to."""
    program = """
from aiokafka import client
from aiokafka.protocol.metadata import MetadataRequest_v5
from streams.kafka import topics
assert client.MetadataRequest(["t"]).build(MetadataRequest_v5).allow_auto_topic_creation
topics.never_create_by_asking()
topics.never_create_by_asking()
assert not client.MetadataRequest(["t"]).build(MetadataRequest_v5).allow_auto_topic_creation
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
