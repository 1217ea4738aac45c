"""Deliberate trouble: a proxy that misbehaves on command, and a schedule of faults drawn from a seed."""

from tests.lab.chaos.faults import (
    Cut,
    Delay,
    Drip,
    DropUpload,
    Fault,
    Freeze,
    HalfOpen,
    Injection,
    RequestStart,
    ResetAfterRequest,
    TruncateResponse,
    contains,
    inserts_into,
)
from tests.lab.chaos.proxy import Proxy

__all__ = [
    "Cut",
    "Delay",
    "Drip",
    "DropUpload",
    "Fault",
    "Freeze",
    "HalfOpen",
    "Injection",
    "Proxy",
    "RequestStart",
    "ResetAfterRequest",
    "TruncateResponse",
    "contains",
    "inserts_into",
]
