"""What devices send: the envelope, the fields and the event types of every family."""
