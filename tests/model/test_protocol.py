"""The protocol holds under every interleaving that chance finds.

``CLASSPULSE_PROTOCOL_EXAMPLES`` sets the number of runs (30) and ``CLASSPULSE_PROTOCOL_STEPS`` the steps of each (25),
for hours of torture as well. A failure prints the shortest sequence of steps that Hypothesis found, and how to repeat it.
"""

import os

from hypothesis import HealthCheck, settings

from tests.model.machine import ProtocolMachine

TestProtocol = ProtocolMachine.TestCase
TestProtocol.settings = settings(
    max_examples=int(os.environ.get("CLASSPULSE_PROTOCOL_EXAMPLES", "30")),
    stateful_step_count=int(os.environ.get("CLASSPULSE_PROTOCOL_STEPS", "25")),
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
