"""The account that a torture run is judged by: identities, outcomes, partitions."""

from deploy.local.simulator import Disturbance, SimulationConfig, simulate
from tests.lab.chaos.feed import Account, identity, identity_of

DISTURBED = Disturbance(duplicate_share=0.1, malformed_share=0.05)


def test_an_event_has_one_identity_in_both_content_modes_and_no_other_has_it() -> None:
    """Structured and binary records are both read; as many identities as unique valid events."""
    records = list(simulate(SimulationConfig(seed=4, events=5_000, binary_share=0.5, disturbance=DISTURBED)))
    stored = [record for record in records if record.outcome == "stored"]
    binary = [any(name == "ce_id" for name, _ in record.headers) for record in stored]
    assert any(binary)
    assert not all(binary)
    identities = {identity_of(record) for record in stored}
    assert len(identities) == len(stored)
    duplicates = {identity_of(record) for record in records if record.outcome == "duplicate"}
    assert duplicates
    assert duplicates <= identities


def test_parts_of_an_identity_do_not_run_into_each_other() -> None:
    """The same letters divided otherwise are another event."""
    assert identity(b"ab", "c", "d") != identity(b"a", "bc", "d")
    assert identity(b"a", "bc", "d") != identity(b"a", "b", "cd")
    assert identity(b"a", "b", "c") == identity(b"a", "b", "c")


def test_the_account_adds_up_by_partition() -> None:
    """Each outcome is counted at its partition, and the unique events of a topic are as many as its stored records."""
    account = Account()
    for number, record in enumerate(simulate(SimulationConfig(seed=4, events=5_000, disturbance=DISTURBED))):
        account.add(record, number % 3)
    assert account.ledger.produced == 5_000 == sum(outcomes.total() for outcomes in account.partitions.values())
    assert account.ledger.duplicates == sum(outcomes["duplicate"] for outcomes in account.partitions.values()) > 0
    assert account.ledger.dead_letters == sum(outcomes["dead_letter"] for outcomes in account.partitions.values()) > 0
    for topic, row in account.ledger.by_topic.items():
        assert len(account.events.get(topic, set())) == row["stored"]
