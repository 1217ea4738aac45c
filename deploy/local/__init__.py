"""What runs on one machine for a demo, for development and for tests: the embedded stack and the simulator."""
