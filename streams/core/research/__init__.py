"""Research metrics (教研) as pure functions of columns."""
