"""What an event is: its envelope, its data, and how bytes become columns."""
