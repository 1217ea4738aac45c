"""A worker's Prometheus page, as numbers."""

from collections.abc import Iterable
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

__all__ = ["Page", "parsed"]


@dataclass(frozen=True, slots=True)
class Page:
    """Samples as (name, labels, value)."""

    samples: tuple[tuple[str, dict[str, str], float], ...]

    def total(self, name: str, **labels: str) -> float:
        """Return the sum of a sample over all labels but those given; 0 if there is none."""
        return sum(value for found, its, value in self.samples if found == name and labels.items() <= its.items())

    def buckets(self, name: str) -> dict[float, float]:
        """Return a histogram's cumulative counts by upper bound."""
        counts: dict[float, float] = {}
        for found, labels, value in self.samples:
            if found == f"{name}_bucket":
                bound = float(labels["le"])
                counts[bound] = counts.get(bound, 0.0) + value
        return counts

    def by_label(self, name: str, label: str) -> dict[str, float]:
        """Return a sample's values by one of its labels."""
        return {labels[label]: value for found, labels, value in self.samples if found == name and label in labels}


def parsed(lines: Iterable[str]) -> Page:
    """Read the text of a page."""
    families = text_string_to_metric_families("\n".join(lines) + "\n")
    return Page(tuple((one.name, dict(one.labels), one.value) for family in families for one in family.samples))
