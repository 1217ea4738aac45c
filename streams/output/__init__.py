"""What the program says to people: on the terminal, in the log, in numbers."""
