"""The commands of ``classpulse``, one module each."""
