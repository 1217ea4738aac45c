"""The commands that need the local stack: demo, dev, simulate."""

from typing import Final

#: name -> (module, one line for the overview)
COMMANDS: Final = {
    "demo": ("deploy.local.commands.demo", "Play a simulated school morning through everything, and check the result."),
    "dev": ("deploy.local.commands.dev", "Start, stop and look at the embedded Kafka and ClickHouse."),
    "simulate": ("deploy.local.commands.simulate", "Produce the events of a simulated district."),
}
