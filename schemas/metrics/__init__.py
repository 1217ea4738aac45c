"""Every metric, declared once: name, formula, windows, unit, source, and how it merges."""
