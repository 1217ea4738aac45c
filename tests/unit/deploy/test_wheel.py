"""The wheel: the product with all that it reads, and nothing else; and it works without the checkout."""

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PRODUCT = ("schemas", "sinks", "streams")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def run(wheel: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the unpacked wheel."""
    return program(wheel, "from streams.cli import main; main()", *arguments)


def program(wheel: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``code`` with the unpacked wheel and the packages that are installed here, without the checkout among them."""
    unpacked = wheel.parent / "unpacked"
    if not unpacked.exists():
        zipfile.ZipFile(wheel).extractall(unpacked)
    paths = [str(unpacked), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {paths!r}; {code}", *arguments]
    return subprocess.run(command, cwd=wheel.parent, check=False, capture_output=True, text=True, timeout=120)


def test_it_holds_every_file_of_the_product_and_nothing_else(wheel: Path) -> None:
    """Python, SQL, YAML, templates, type marks: all that lies in the three packages, and the licence."""
    in_checkout = {
        path.relative_to(ROOT).as_posix()
        for package in PRODUCT
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    names = set(zipfile.ZipFile(wheel).namelist())
    besides = {name for name in names if name.partition("/")[0] not in PRODUCT}
    assert names - besides == in_checkout
    assert {name.partition("/")[0] for name in besides} == {"classpulse-0.1.0.dist-info"}
    assert any(name.endswith("licenses/LICENSE") for name in besides)


def test_its_help_shows_what_an_operator_uses(wheel: Path) -> None:
    """The commands of the laboratory and of the local stack are not there, nor is their code."""
    answer = run(wheel, "--help")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "verify" in answer.stdout
    for word in ("On this machine", "Laboratory", "bench", "demo"):
        assert word not in answer.stdout
    assert run(wheel, "bench").returncode != 0


def test_its_commands_find_what_they_read(wheel: Path) -> None:
    """Files beside the code are read from the wheel."""
    exported = run(wheel, "schema", "export", "--stdout")
    assert (exported.returncode, exported.stdout[:1]) == (0, "{"), exported.stderr


@pytest.mark.parametrize(
    "call",
    [
        "sinks.clickhouse.migrations:migrations()",
        "sinks.verify.verify:metrics_sql('classroom', 'talk')",
        "sinks.views.contract:views()",
        "streams.kafka.acls:declared()",
        "streams.kafka.topics:declared()",
        "schemas.evaluation.config:default_text()",
        "streams.evaluation.report.page:templates()",
    ],
)
def test_its_modules_find_what_they_read(wheel: Path, call: str) -> None:
    """Migrations, verification, views, rights, topics, the default evaluation and the report are read from the wheel."""
    module, _, expression = call.partition(":")
    answer = program(wheel, f"from {module} import {expression.partition('(')[0]}; print(len({expression}))")
    assert answer.returncode == 0, answer.stderr
    assert int(answer.stdout) > 0
