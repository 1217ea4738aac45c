"""The worker process: wiring, running, assignment, health."""
