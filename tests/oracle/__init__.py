"""The metrics computed naively, to hold the stream's code and the verifying SQL against."""
