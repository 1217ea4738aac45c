"""The pure core: event time, duplicates and metrics as functions of columns.

Only ``schemas``, the standard library and Polars may be imported here. No I/O, no asyncio, no clock, no logging.
"""
