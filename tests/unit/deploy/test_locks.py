"""The locks: what is installed has their versions and hashes, and they hold all that pyproject.toml asks for."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[3]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
EXTRAS = PROJECT["optional-dependencies"]
ASKED = {
    "product": PROJECT["dependencies"],
    "dev": [*PROJECT["dependencies"], *(asked for extra in EXTRAS.values() for asked in extra)],
    "build": PYPROJECT["build-system"]["requires"],
}
every_lock = pytest.mark.parametrize("name", ASKED)


def entries(name: str) -> Iterator[tuple[Requirement, list[str]]]:
    """Return each locked requirement with its hashes."""
    text = (ROOT / "requirements" / f"{name}.lock").read_text(encoding="utf-8")
    for line in re.sub(r"\\\n", " ", text).splitlines():
        if not line.startswith("#"):
            requirement, *hashes = line.split(" --hash=")
            yield Requirement(requirement.strip()), [one.strip() for one in hashes]


def versions(name: str) -> dict[str, set[str]]:
    """Return the versions of each package; another Python or platform may have another one."""
    found: dict[str, set[str]] = {}
    for requirement, _hashes in entries(name):
        (pin,) = requirement.specifier
        assert pin.operator == "=="
        found.setdefault(canonicalize_name(requirement.name), set()).add(pin.version)
    return found


@every_lock
def test_every_entry_has_one_version_and_hashes(name: str) -> None:
    """An entry without a hash would be installed as whatever the registry gives."""
    for requirement, hashes in entries(name):
        assert len(requirement.specifier) == 1
        assert hashes, requirement
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in hashes)


@every_lock
def test_every_dependency_is_locked_within_what_is_declared(name: str) -> None:
    """A dependency added or raised without 'make lock' is found here."""
    locked = versions(name)
    for asked in map(Requirement, ASKED[name]):
        found = locked[canonicalize_name(asked.name)]
        assert all(asked.specifier.contains(version) for version in found), (asked, found)


def test_the_product_is_tested_with_the_versions_that_it_ships_with() -> None:
    """What the image installs is what the tests run with."""
    tested = versions("dev")
    assert {name: tested[name] for name in versions("product")} == versions("product")


def test_the_build_is_locked_as_it_is_declared() -> None:
    """The group that 'make lock' reads is what the build system asks for."""
    assert PYPROJECT["dependency-groups"]["build"] == PYPROJECT["build-system"]["requires"]
