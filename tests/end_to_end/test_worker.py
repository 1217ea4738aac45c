"""Workers as processes: killed, joined, stopped, rejected; the invariants hold after each."""

import itertools
import signal
import subprocess
import sys

from deploy.local.stack import stack
from tests.end_to_end.harness import AccountedRig
from tests.lab.rig import wait_until


def test_a_worker_killed_again_and_again_loses_and_doubles_nothing(rig: AccountedRig) -> None:
    """Three SIGKILLs in mid-stream leave every record counted once and every metric right."""
    produced = rig.produce(24_000).produced
    for share in (0.1, 0.4, 0.7):
        worker = rig.start_worker(CLASSPULSE_FLUSH_MAX_ROWS="4000", CLASSPULSE_FLUSH_INTERVAL_MS="100")
        rig.wait_for_checkpoints(int(produced * share))
        worker.kill()
    rig.start_worker()
    rig.assert_invariants()


def test_a_second_worker_joins_and_the_first_is_killed(rig: AccountedRig) -> None:
    """Partitions move to a joining worker and away from a dead one while records keep coming."""
    rig.start_worker(CLASSPULSE_FLUSH_MAX_ROWS="4000", CLASSPULSE_FLUSH_INTERVAL_MS="100")
    first = rig.produce(12_000, seed=1).produced
    rig.wait_for_checkpoints(first // 10)
    rig.start_worker(CLASSPULSE_WORKER_NAME="second")
    seeds = itertools.count(2)

    def second_writes() -> bool:
        rig.produce(1_000, seed=next(seeds))
        names = "SELECT count() FROM checkpoints FINAL WHERE worker = 'second'"
        return bool(rig.client.query(names).result_rows[0][0])

    wait_until(second_writes, "the second worker to write a checkpoint")
    rig.workers[0].kill()
    rig.produce(10_000, seed=next(seeds))
    rig.assert_invariants()


def test_sigterm_ends_a_worker_in_order(rig: AccountedRig) -> None:
    """SIGTERM during work writes what is held and ends with status 0; the next worker goes on from there."""
    produced = rig.produce(12_000).produced
    worker = rig.start_worker(CLASSPULSE_FLUSH_MAX_ROWS="3000")
    rig.wait_for_checkpoints(produced // 10)
    assert worker.stop() == 0
    rig.start_worker()
    rig.assert_invariants()


def test_clickhouse_away_for_a_while(rig: AccountedRig) -> None:
    """With ClickHouse frozen the worker lives but is not ready; afterwards it catches up."""
    worker = rig.start_worker(CLASSPULSE_CLICKHOUSE_TIMEOUT_SECONDS="2")
    rig.produce(5_000, seed=1)
    rig.wait_for_checkpoints(5_000)
    assert worker.status("readyz") == 200
    stack.kill(rig.folder, stack.CLICKHOUSE, signal.SIGSTOP)
    rig.produce(5_000, seed=2)
    wait_until(lambda: worker.status("readyz") == 503, "the worker to say that it is not ready")
    assert worker.status("healthz") == 200
    stack.kill(rig.folder, stack.CLICKHOUSE, signal.SIGCONT)
    rig.assert_invariants()
    wait_until(lambda: worker.status("readyz") == 200, "the worker to be ready again")
    assert worker.telemetry().total("classpulse_clickhouse_retries_total") > 0


def test_a_restarted_broker_begins_a_new_epoch(rig: AccountedRig) -> None:
    """A broker that lost its records is recognised: the worker begins a new epoch and counts on."""
    worker = rig.start_worker()
    rig.produce(5_000, seed=1)
    rig.wait_for_checkpoints(5_000)
    assert worker.stop() == 0
    stack.stop_part(rig.folder, stack.KAFKA)
    stack.start_broker(rig.folder)
    rig.create_topics()
    rig.produce(3_000, seed=2)
    rig.start_worker()
    rig.assert_invariants()
    epochs = rig.client.query("SELECT max(epoch) FROM checkpoints FINAL").result_rows[0][0]
    assert epochs == 1


def test_a_worker_without_the_right_password_ends_with_the_remedy(rig: AccountedRig) -> None:
    """A bad credential ends the process with a status above 0 and says which setting to check."""
    rig.produce(10)
    worker = rig.start_worker(CLASSPULSE_CLICKHOUSE_PASSWORD="wrong")
    assert worker.wait(60) != 0
    log = worker.log.read_text()
    assert "CLASSPULSE_CLICKHOUSE_PASSWORD" in log
    assert "Traceback" not in log


def test_the_workers_user_is_told_that_it_may_not_migrate(rig: AccountedRig) -> None:
    """The rights are said to be missing, and whose they are, without a traceback."""
    rig.admin.command("DROP VIEW v1_lesson_figures")
    command = [sys.executable, "-m", "streams", "migrate"]
    done = subprocess.run(command, env=rig.environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "ClickHouse does not let classpulse_worker change the database classpulse" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_worker_without_a_pseudonym_key_does_not_start(rig: AccountedRig) -> None:
    """Without the key nothing is stored; the error says how to make one."""
    worker = rig.start_worker(CLASSPULSE_PSEUDONYM_KEY="short")
    assert worker.wait(30) == 2
    assert "openssl rand" in worker.log.read_text()


def test_no_raw_student_id_reaches_a_table(rig: AccountedRig) -> None:
    """Every student in the stored events is a pseudonym of 33 characters."""
    rig.start_worker()
    rig.produce(3_000)
    rig.assert_invariants()
    raw = rig.client.query(
        "SELECT countIf(student_id != '' AND NOT match(student_id, '^p[0-9a-f]{32}$')),"
        " countIf(arrayExists(s -> NOT match(s, '^p[0-9a-f]{32}$'), roster)), countIf(student_id != '')"
        " FROM events_classroom"
    ).result_rows[0]
    assert raw[:2] == (0, 0)
    assert raw[2] > 0
    # The key that they are made with is the database's from now on.
    other = rig.start_worker(CLASSPULSE_PSEUDONYM_KEY="another key of more than 16 bytes")
    assert other.wait(60) == 2
    assert "not the one that this database was filled with" in other.log.read_text()
