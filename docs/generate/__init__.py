"""Writes the generated parts of the pages in ``docs/`` from the code they describe: ``python -m docs.generate``."""
