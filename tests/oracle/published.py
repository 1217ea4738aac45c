"""Every query that is published: on the pages, in the demo and on Grafana's dashboard."""

import json
import re
from pathlib import Path
from typing import Final

from deploy.local.commands.demo_answers import QUESTIONS

ROOT: Final = Path(__file__).parents[2]
DASHBOARD: Final = json.loads((ROOT / "deploy/grafana/dashboards/classpulse.json").read_text(encoding="utf-8"))
#: Of the dashboard's panels on ClickHouse: title -> query, with the macros of Grafana's plugin.
PANELS: Final = {
    panel["title"]: target["rawSql"]
    for panel in DASHBOARD["panels"]
    for target in panel.get("targets", [])
    if "rawSql" in target
}


def filled_in(query: str, first: str, last: str) -> str:
    """Return a panel's query with the macros as Grafana's plugin fills them in for a range from ``first`` to ``last``."""
    within = re.sub(r"\$__timeFilter\((\w+)\)", rf"\1 >= {first} AND \1 <= {last}", query)
    return within.replace("$__toTime", last)


def published() -> list[tuple[str, str]]:
    """Return where each query stands, and the query."""
    pages = [ROOT / "README.md", ROOT / "README.zh-CN.md", *sorted((ROOT / "docs").rglob("*.md"))]
    found = [
        (str(page.relative_to(ROOT)), query)
        for page in pages
        for query in re.findall(r"^```sql[^\n]*\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    ]
    programs = sorted((ROOT / "docs/examples").glob("*.py"))
    found += [
        (str(program.relative_to(ROOT)), query)
        for program in programs
        for query in re.findall(r'"""(SELECT .*?)"""', program.read_text(encoding="utf-8"), re.DOTALL)
    ]
    found += [("Grafana: " + title, query) for title, query in PANELS.items()]
    return [*found, *((f"demo: {question.english}", question.sql) for question in QUESTIONS)]
