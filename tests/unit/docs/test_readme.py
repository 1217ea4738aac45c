"""The README in both languages: short, alike, and with the numbers that were measured."""

import json
import re
from pathlib import Path

import pytest

from docs.generate.catalogue import folder

ROOT = folder().parent
ENGLISH = ROOT / "README.md"
CHINESE = ROOT / "README.zh-CN.md"
#: Four screens of 40 lines.
MOST_LINES = 160
#: What a picture says in words: the text of a box, and that of an arrow or a group.
LABEL = re.compile(r"\[\(.*?\)\]|\[.*?\]|(?<=--) .*? (?=-->)|(?<=-\.) .*? (?=\.->)")

both = pytest.mark.parametrize("page", [ENGLISH, CHINESE], ids=lambda page: page.name)


def code(page: Path) -> list[tuple[str, list[str]]]:
    """Return the blocks of code: each one's language, and its lines without comments and labels."""
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [
        (language, [bare for line in text.splitlines() if (bare := without_words(language, line))])
        for language, text in blocks
    ]


def without_words(language: str, line: str) -> str:
    """Return what of a line of code is the same in every language."""
    if language == "mermaid":
        return LABEL.sub("", line)
    return re.sub(r"(^|\s+)(#|-- ).*", "", line)


def test_both_languages_have_the_same_code_and_the_same_picture() -> None:
    """Whoever follows the Chinese page types the same commands, whose tests are those of the English page."""
    assert code(CHINESE) == code(ENGLISH)
    assert [language for language, _ in code(ENGLISH)] == ["mermaid", "sh", "sh", "sh", "sql", "sh"]


def test_both_languages_have_the_same_links_headings_and_tables() -> None:
    """Nothing is said in one language alone."""
    texts = [page.read_text(encoding="utf-8") for page in (ENGLISH, CHINESE)]
    for pattern in (r"\]\(((?!README)[^)]+)\)", r"^(#+) ", r"^\|.*?\|(.*\d.*)\|$"):
        english, chinese = (re.findall(pattern, text, re.MULTILINE) for text in texts)
        assert english
        assert chinese == english


@both
def test_it_fits_four_screens(page: Path) -> None:
    """A reader of the first page reads all of it."""
    assert len(page.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


@both
@pytest.mark.parametrize("broker", ["apache", "embedded"])
def test_the_numbers_are_those_of_the_results(page: Path, broker: str) -> None:
    """Throughput, its ratio to the ceiling and the memory are the latest results of `make bench`, rounded."""
    result = json.loads((ROOT / f"docs/benchmarks/{broker}-plain.json").read_text(encoding="utf-8"))
    rate = f"{round(result['classpulse_events_per_second'], -3):,.0f}"
    memory = f"{result['worker_peak_memory_bytes'] / 2**20:.0f} MiB"
    assert f"| {rate} | {result['ratio_to_ceiling'] * 100:.0f} % | {memory} |" in page.read_text(encoding="utf-8")
