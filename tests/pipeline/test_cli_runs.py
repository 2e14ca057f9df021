"""Commands as a person types them: exit code, one sentence, and the tables as they were."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from intent_spark.events.job import IngestEvents
from intent_spark.lakehouse.job import Job
from intent_spark.pipeline import cli
from intent_spark.profiles.job import BuildProfiles
from tests.conftest import QUICK_JAVA, ROOT

# One worker runs them all: they share a warehouse.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("commands")]


def command() -> list[str]:
    if (ROOT / ".venv" / ".complete").exists():
        return [str(ROOT / "spark-submit.sh")]
    return [sys.executable, "-m", "intent_spark.pipeline.launcher"]


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A job in a process of its own, its working directory under pytest's folder."""
    environment = os.environ | QUICK_JAVA | {"PYTHONPATH": str(ROOT), "SPARK_LOCAL_IP": "127.0.0.1"}
    environment.pop("INTENT_SPARK_TRACE", None)
    return subprocess.run(
        [*command(), *words], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=900
    )


def sentence(done: subprocess.CompletedProcess[str]) -> str:
    """What the person is told: the one line that is no log line."""
    shown = done.stderr
    assert "Traceback" not in shown and "\tat " not in shown, shown[-2000:]
    logged = (" INFO ", " WARNING ", " ERROR ", "WARNING: ", "Picked up JAVA_TOOL_OPTIONS")
    told = [line for line in shown.splitlines() if not any(level in line for level in logged)]
    assert len(told) == 1, shown[-2000:]
    return told[0]


def output(done: subprocess.CompletedProcess[str]) -> str:
    """Both streams."""
    return done.stderr + done.stdout


def tree(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if "job_runs" not in path.parts}


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["frobnicate"], 2, "unknown job 'frobnicate'; the jobs are build_examples, build_profiles, "),
        (["show_status", "--set", "events.look=3"], 2, "--set: unknown key 'events.look'; allowed here: "),
        (["show_status", "--env", "moon"], 2, "unknown environment 'moon'"),
    ],
)
def test_what_is_refused_before_spark_starts(tmp_path: Path, words: list[str], code: int, says: str) -> None:
    done = run(tmp_path, *words)
    assert done.returncode == code, output(done)
    assert says in sentence(done)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["ingest_events", "--source", "x", "--input", "x", "--date", "2026-02-30"], "'2026-02-30' is not a day"),
        (["build_profiles", "--as-of", "soon"], "'soon' is not a day; write it as 2026-03-31."),
        (["ingest_events", "--input", "x"], "the following arguments are required: --source; see --help."),
    ],
)
def test_what_is_refused_by_a_jobs_own_parser(
    tmp_path: Path, words: list[str], says: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process: the parser needs no JVM."""
    from intent_spark.config.log import LOGGER
    from intent_spark.events.job import IngestEvents
    from intent_spark.pipeline.cli import main
    from intent_spark.profiles.job import BuildProfiles

    monkeypatch.setattr(LOGGER, "propagate", True)
    job = {"ingest_events": IngestEvents, "build_profiles": BuildProfiles}[words[0]]()
    with pytest.raises(SystemExit) as caught:
        main(job, words[1:])
    assert caught.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith(f"{words[0]}: ") and says in told and told.count("\n") == 1


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a warehouse of two good events."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / "good.csv").write_text("1,2,3,pv,1511600000\n1,2,3,buy,1511600100\n")
    done = run(folder, "ingest_events", "--source", "taobao_userbehavior", "--input", "good.csv")
    assert done.returncode == 0, output(done)
    assert "accepted=2" in output(done)
    (folder / "empty").mkdir()
    (folder / "other.csv").write_text("InvoiceNo,CustomerID\n1,2\n")
    whole = gzip.compress("".join(f"{n},2,3,pv,1511600000\n" for n in range(9999)).encode())
    (folder / "cut.csv.gz").write_bytes(whole[: len(whole) // 2])
    return folder


FOREIGN = "source online_retail is of a shop in Europe/London with GBP, but warehouse"
REVERSED = ("--start-date", "2026-03-02", "--end-date", "2026-03-01")
INGEST = ("ingest_events", "--source", "taobao_userbehavior", "--input")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ((*INGEST, "cut.csv.gz"), 1, "cut.csv.gz"),
        (("ingest_events", "--source", "online_retail", "--input", "other.csv"), 3, FOREIGN),
    ],
)
def test_what_is_refused_leaves_the_tables_as_they_were(
    shop: Path, words: tuple[str, ...], code: int, says: str
) -> None:
    before = tree(shop / "warehouse")
    done = run(shop, *words)
    assert done.returncode == code, output(done)[-2000:]
    assert says in sentence(done)
    assert tree(shop / "warehouse") == before


@pytest.mark.parametrize(
    ("job", "words", "says"),
    [
        (IngestEvents, (*INGEST[1:], "nowhere.csv"), "input nowhere.csv: no such file, or a folder without files"),
        (IngestEvents, (*INGEST[1:], "empty"), "input empty: no such file, or a folder without files"),
        (IngestEvents, (*INGEST[1:], "good.csv", *REVERSED), "is not before"),
        (BuildProfiles, ("--as-of", "2031-01-01"), "--as-of 2031-01-01 is outside the data"),
    ],
)
def test_what_is_refused_within_one_process(
    shop: Path, spark: SparkSession, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    job: type[Job], words: tuple[str, ...], says: str,
) -> None:  # fmt: skip
    """The same command line without the seconds that a new Java takes."""
    monkeypatch.chdir(shop)
    monkeypatch.setattr(cli, "configure_logging", lambda: None)
    before = tree(shop / "warehouse")
    with pytest.raises(SystemExit) as left:
        cli.main(job(), list(words))
    assert left.value.code == 2
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith(f"{job.name}: ")]
    assert len(told) == 1 and says in told[0]
    assert tree(shop / "warehouse") == before


def test_a_dry_run_shows_the_plan_and_changes_nothing(
    shop: Path, spark: SparkSession, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(shop)
    monkeypatch.setattr(cli, "configure_logging", lambda: None)
    before = tree(shop / "warehouse")
    with pytest.raises(SystemExit) as left:
        cli.main(IngestEvents(), [*INGEST[1:], str(shop / "good.csv"), "--dry-run"])
    shown, told = capsys.readouterr()
    assert left.value.code == 0, told
    assert "good.csv (2 rows)" in shown
    assert "ingest_events: 0 of 1 to do; nothing was changed." in shown
    assert tree(shop / "warehouse") == before


ABORTING = """
import atexit, ctypes, sys
from intent_spark.config.errors import UsageError
from intent_spark.pipeline import cli
atexit.register(print, "Python's handlers ran")
libc = ctypes.CDLL(None)
libc.on_exit(ctypes.cast(libc.abort, ctypes.c_void_p), None)
class Job:
    name = "a_job"
def run(job, arguments):
    if sys.argv[1] == "wrong":
        raise UsageError("no such thing.")
    return 0
cli._run = run
cli.program(Job())
"""


@pytest.mark.parametrize(("way", "code"), [("done", 0), ("wrong", 2)])
def test_a_library_that_aborts_when_it_is_unloaded_changes_no_exit_code(way: str, code: int) -> None:
    done = subprocess.run([sys.executable, "-c", ABORTING, way], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (code, "Python's handlers ran\n"), done.stderr
    assert done.stderr == ("" if way == "done" else "a_job: no such thing.\n")
