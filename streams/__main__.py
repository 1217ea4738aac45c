"""``python -m streams`` is ``classpulse``."""

from streams.cli import main

main()
