"""The states of partition, circuit and assignment: the table says every way there is, and nothing else is taken."""

from enum import Enum

import pytest

from streams.pipeline.states import TRANSITIONS, AssignmentState, CircuitState, PartitionState, move

STATES = [state for kind in (PartitionState, CircuitState, AssignmentState) for state in kind]


@pytest.mark.parametrize("state", STATES, ids=lambda state: f"{type(state).__name__}.{state.name}")
def test_only_the_transitions_of_the_table_are_taken(state: Enum) -> None:
    """Every pair of states of one kind is a transition with a reason, or rejected."""
    for to in type(state):
        if to in TRANSITIONS[state]:
            assert TRANSITIONS[state][to]
            assert move(state, to) is to
        else:
            with pytest.raises(RuntimeError, match="no transition leads"):
                move(state, to)


def test_the_table_has_every_state_and_none_is_a_trap() -> None:
    """Each state can be left, and leads to states of its own kind."""
    assert set(TRANSITIONS) == set(STATES)
    for state, ways in TRANSITIONS.items():
        assert set(ways) - {state}
        assert all(type(to) is type(state) for to in ways)
