"""ClickHouse's JDBC driver with its defaults, among them compressed answers, as a reader and as who inserts."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from .wire import OWNER, READER, Http

POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion><groupId>classpulse</groupId><artifactId>jdbc</artifactId><version>1</version>
  <dependencies><dependency>
    <groupId>com.clickhouse</groupId><artifactId>clickhouse-jdbc</artifactId><version>0.9.6</version><classifier>all</classifier>
  </dependency></dependencies>
</project>"""
PROGRAM = """import java.sql.*;
public class Client {
    public static void main(String[] a) throws Exception {
        try (Connection c = DriverManager.getConnection(a[0], a[1], a[2]); Statement s = c.createStatement()) {
            if (a.length > 3) {
                s.execute("CREATE OR REPLACE TABLE default.jdbc (id UInt64, name String) ENGINE = Memory");
                try (PreparedStatement p = c.prepareStatement("INSERT INTO default.jdbc (id, name) VALUES (?, ?)")) {
                    for (int i = 0; i < 100; i++) { p.setInt(1, i); p.setString(2, "n" + i); p.addBatch(); }
                    p.executeBatch();
                }
                ResultSet stored = s.executeQuery("SELECT count(), sum(id) FROM default.jdbc");
                stored.next();
                System.out.println(stored.getLong(1) + " " + stored.getLong(2));
            }
            ResultSet rows = s.executeQuery("SELECT number, repeat('x', 50) FROM numbers(100000)");
            long sum = 0;
            while (rows.next()) { sum += rows.getLong(1) + rows.getString(2).length(); }
            System.out.println(sum);
            try {
                s.executeQuery("SELECT * FROM classpulse.hidden");
            } catch (SQLException e) {
                System.out.println(e.getMessage().contains("Code: 497"));
            }
        }
    }
}"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, and the driver's class path in a file."""
    maven = shutil.which("mvn")
    if maven is None or shutil.which("javac") is None:
        pytest.skip("needs Maven and a Java development kit")
    folder = tmp_path_factory.mktemp("jdbc")
    (folder / "pom.xml").write_text(POM)
    (folder / "Client.java").write_text(PROGRAM)
    command = [maven, "--batch-mode", "--quiet", "dependency:build-classpath", f"-Dmdep.outputFile={folder / 'class-path'}"]
    found = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    return folder


@pytest.mark.parametrize(
    ("user", "inserts", "expected"),
    [(READER, (), ["5004950000", "true"]), (OWNER, ("inserts",), ["100 4950", "5004950000"])],
)
def test_the_jdbc_driver_works_with_its_defaults(
    ch: Http, folder: Path, user: str, inserts: tuple[str, ...], expected: list[str]
) -> None:
    """It reads a compressed answer of some megabytes, tells a refusal by its code, and inserts a batch."""
    ch("CREATE TABLE IF NOT EXISTS classpulse.hidden (id UInt64) ENGINE = Memory")
    url = f"jdbc:clickhouse://{ch.host}:{ch.port}/classpulse"
    class_path = (folder / "class-path").read_text()
    command = ["java", "-cp", class_path, "Client.java", url, user, ch.info.users[user], *inserts]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[: len(expected)] == expected
