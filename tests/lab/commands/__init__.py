"""The commands of the laboratory: bench, fuzz, measure, torture."""

from typing import Final

#: name -> (module, one line for the overview)
COMMANDS: Final = {
    "bench": ("tests.lab.commands.bench", "Measure classpulse beside the bare client's ceiling and its peers."),
    "fuzz": ("tests.lab.commands.fuzz", "Send hostile records through a worker, and account for each."),
    "measure": ("tests.lab.commands.measure", "Measure latency, restarts, memory, scaling ..., by scenario."),
    "torture": ("tests.lab.commands.torture", "Strike a running system with faults; check that every invariant holds."),
}
