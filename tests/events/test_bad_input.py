"""What a person hands over by mistake: a sentence, the right exit code, and nothing written or lost."""

from __future__ import annotations

import bz2
import gzip
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from py4j.protocol import Py4JJavaError

from intent_spark.config.errors import ContractError, InputError, IntentSparkError, UsageError
from intent_spark.config.loading import load_settings
from intent_spark.config.log import LOGGER
from intent_spark.config.source import SourceMapping
from intent_spark.lakehouse.causes import root_cause
from intent_spark.lakehouse.job import JobContext
from intent_spark.lakehouse.job_runs import Outcome
from intent_spark.lakehouse.lakehouse import Lakehouse
from intent_spark.lakehouse.session import fetched_jars
from tests.conftest import QUICK_JAVA, ROOT
from tests.events.conftest import HEADER
from tests.events.test_ingest import counts, ids, ledger, line, versions
from tests.events.test_replay import check_totals

Ingest = Callable[..., Outcome]
WriteTill = Callable[..., Path]
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("till")]


@pytest.fixture
def good(context: JobContext, ingest: Ingest, write_till: WriteTill) -> Path:
    """A file that was ingested, which nothing that follows may disturb."""
    file = write_till("good.csv", line("a"))
    ingest("till", file)
    return file


def refused(context: JobContext, error: type[IntentSparkError], work: Callable[[], object]) -> str:
    """The sentence of a refusal that left the tables as they were."""
    before = versions(context)
    with pytest.raises(error) as caught:
        work()
    assert versions(context) == before and ids(context) == ["a"]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_gzip_cut_short(context: JobContext, ingest: Ingest, good: Path) -> None:
    text = "\n".join([HEADER, *[line(f"e{n}", who=f"user {n * 7919}") for n in range(3000)]])
    whole = gzip.compress(text.encode())
    file = good.with_name("cut.csv.gz")
    file.write_bytes(whole[: len(whole) // 2])
    said = refused(context, InputError, lambda: ingest("till", file))
    assert said.startswith("input cut.csv.gz: cannot be read (java.io.EOFException: Unexpected end of input stream);")
    refused(context, InputError, lambda: ingest("till", file.parent))
    file.write_bytes(whole)
    ingest("till", file.parent)
    assert len(ids(context)) == 3001


def test_a_parquet_file_that_is_none(context: JobContext, ingest: Ingest, good: Path) -> None:
    file = good.with_name("till.parquet")
    file.write_bytes(good.read_bytes() * 9)
    said = refused(context, InputError, lambda: ingest("till", file, "--format", "parquet"))
    assert "till.parquet: cannot be read (" in said and "is not a Parquet file" in said


def test_a_wrong_delimiter(
    context: JobContext, ingest: Ingest, good: Path, ingest_into: Callable[..., Outcome]
) -> None:
    file = good.with_name("semicolons.csv")
    file.write_text(f"{HEADER}\n{line('b')}\n".replace(",", ";"))
    said = refused(context, ContractError, lambda: ingest("till", file))
    assert "source till: its files are no longer what they were" in said
    lost = ("at", "currency", "id", "item", "price", "quantity", "what", "who")
    assert ", ".join(f"lost {column}" for column in lost) + ";" in said
    elsewhere = JobContext(context.settings, context.spark, Lakehouse(context.spark, f"{context.lakehouse.root}-2"))
    with pytest.raises(ContractError, match=r"\(one column; is the delimiter ';'\?\)"):
        ingest_into(elsewhere, "till", file)
    assert not elsewhere.lakehouse.exists("events")


def test_a_wrong_encoding(context: JobContext, ingest: Ingest, good: Path) -> None:
    """Lines that are plain in both go on; the others are kept byte by byte."""
    file = good.with_name("latin.csv")
    file.write_bytes(f"{HEADER}\n{line('b', item='café')}\n{line('c')}\n".encode("latin-1"))
    ingest("till", file)
    assert ids(context) == ["a", "c"]
    [row] = context.lakehouse.read("events_quarantine").selectExpr("reason", "hex(raw) as bytes").collect()
    assert (row["reason"], bytes.fromhex(row["bytes"])) == ("bad_encoding", line("b", item="café").encode("latin-1"))


def test_a_byte_order_mark(context: JobContext, ingest: Ingest, good: Path) -> None:
    file = good.with_name("excel.csv")
    file.write_bytes(f"\ufeff{HEADER}\r\n{line('b')}\r\n".encode())
    ingest("till", file)
    assert ids(context) == ["a", "b"]


def test_a_line_of_ten_megabytes(context: JobContext, ingest: Ingest, good: Path) -> None:
    file = good.with_name("long.csv")
    file.write_text(
        "\n".join([HEADER, line("b", item="x" * 10_000_000), line("c"), "y" * 10_000_000, line("d")]) + "\n"
    )
    ingest("till", file)
    assert ids(context) == ["a", "b", "c", "d"]
    [row] = context.lakehouse.read("events_quarantine").selectExpr("line", "length(raw) as length").collect()
    assert tuple(row) == (4, 10_000_000)


def test_an_empty_file_and_a_folder_without_files(context: JobContext, ingest: Ingest, good: Path) -> None:
    good.with_name("empty.csv").write_text("")
    assert ingest("till", good.with_name("empty.csv")).status == "nothing_to_do"
    (good.parent / "nothing").mkdir()
    said = refused(context, UsageError, lambda: ingest("till", good.parent / "nothing"))
    assert "nothing: no such file, or a folder without files; check --input and the dates." in said


def test_a_mapping_of_a_column_that_is_not_there(
    context: JobContext, ingest: Ingest, good: Path, write_till: WriteTill, till: Path
) -> None:
    till.write_text(till.read_text().replace("user_id: who", "user_id: customer"))
    said = refused(context, ContractError, lambda: ingest("till", write_till("2.csv", line("b"))))
    assert "`customer`" in said and "The data have: id, who, what" in said


def test_two_mappings_for_one_field(context: JobContext, ingest: Ingest, good: Path, till: Path) -> None:
    till.write_text(till.read_text().replace("  user_id: who", "  user_id: who\n  user_id: item"))
    said = refused(context, UsageError, lambda: ingest("till", good))
    assert said.endswith("till.yaml: key 'user_id' is said twice, again at line 11; keep one.")


@pytest.mark.parametrize("suffix", [".gz", ".bz2"])
def test_compressed_files(context: JobContext, ingest: Ingest, good: Path, suffix: str) -> None:
    pack = {".gz": gzip.compress, ".bz2": bz2.compress}[suffix]
    good.with_name(f"packed.csv{suffix}").write_bytes(pack(f"{HEADER}\n{line('b')}\ntorn\n".encode()))
    ingest("till", Path(f"{good.parent}/*{suffix}"))
    assert ids(context) == ["a", "b"]
    assert context.lakehouse.read("events_quarantine").select("line").collect() == [(3,)]


def test_avro_files(context: JobContext, ingest: Ingest, tmp_path: Path) -> None:
    if not any("spark-avro" in jar for jar in fetched_jars()):
        pytest.skip("Spark's module for Avro was not fetched: run tools/setup.sh avro")
    rows = [line("a").split(","), line("b", what="steal").split(","), line("c").split(",")]
    frame = context.spark.createDataFrame(pd.DataFrame(rows, columns=HEADER.split(","))).coalesce(1)
    frame.write.format("avro").save(str(tmp_path / "avro"))
    ingest("till", tmp_path / "avro", "--format", "avro")
    assert ids(context) == ["a", "c"]
    [row] = context.lakehouse.read("events_quarantine").collect()
    assert (row["reason"], row["line"], row["format"]) == ("unknown_event_type", 2, "avro")
    assert ingest("till", tmp_path / "avro", "--format", "avro").status == "nothing_to_do"


def test_a_path_without_permission(till: Path, tmp_path: Path) -> None:
    """Root may read everything; a driver that was denied this right may not."""
    deny = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    if deny and (not shutil.which("setpriv") or subprocess.run([*deny, "true"], check=False).returncode):
        pytest.skip("root reads everything, and setpriv, which could deny it, does not work here")
    secret = tmp_path / "secret.csv"
    secret.write_text(f"{HEADER}\n{line('a')}\n")
    secret.chmod(0)
    job = [sys.executable, "-m", "intent_spark.pipeline.launcher", "ingest_events", "--source", "till"]
    done = subprocess.run(
        [*deny, *job, "--input", str(secret), "--warehouse", str(tmp_path / "w")], cwd=tmp_path, text=True,
        env=os.environ | QUICK_JAVA | {"PYTHONPATH": str(ROOT), "SPARK_LOCAL_IP": "127.0.0.1"}, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    [said] = [text for text in done.stderr.splitlines() if text.startswith("ingest_events: ")]
    assert "input secret.csv: cannot be read (" in said and "Permission denied" in said
    assert not (tmp_path / "w" / "events").exists()


def test_a_full_disk(
    context: JobContext, ingest_into: Callable[..., Outcome], write_till: WriteTill, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        small = JobContext(context.settings, context.spark, Lakehouse(context.spark, str(disk / "warehouse")))
        ingest_into(small, "till", write_till("1.csv", line("a")))
        big = write_till(
            "2.csv", *[line(f"{n:x}-{n * 7919 % 100_003:x}", who=f"{n * 104_729:x}") for n in range(20_000)]
        )
        with pytest.raises(Py4JJavaError) as caught:
            ingest_into(small, "till", big)
        assert "No space left on device" in root_cause(caught.value)
        assert ids(small) == ["a"]
        subprocess.run(["mount", "-o", "remount,size=60m", str(disk)], check=True)
        ingest_into(small, "till", big.parent)
        assert sum(row["accepted"] for row in ledger(small)) == 20_001 == len(ids(small))
        check_totals(small)
    finally:
        # Lazy: the failed write may hold its file open until the JVM collects it.
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_rows_are_left_out_split_and_refused_whole(
    context: JobContext, ingest: Ingest, write_till: WriteTill, till: Path
) -> None:
    text = till.read_text().replace("event_id: id", "event_id: \"concat(id, '/', piece)\"")
    text = text.replace("item_id: item", "item_id: piece").replace(
        "quantity: quantity", "quantity: \"if(piece = 'bad', 'x', 1)\""
    )
    till.write_text(text + "where: \"what <> 'void'\"\nsplit: {by: \"split(item, '[+]')\", into: piece}\n")
    file = write_till(
        "1.csv", line("a", item="x+y+z"), line("b", item="x"), line("c", what="void"), line("d", item="x+bad+bad"), "torn",
        line("e", what=""), line("a", item="y"),
    )  # fmt: skip
    ingest("till", file)
    assert ids(context) == ["a/x", "a/y", "a/z", "b/x"]
    [row] = ledger(context)
    assert (*counts(row), row["split"], row["filtered"]) == (7, 4, 1, 3, 2, 1)
    refused = context.lakehouse.read("events_quarantine").collect()
    assert sorted((row["line"], row["reason"]) for row in refused) == [
        (5, "bad_quantity"), (6, "malformed"), (7, "missing_event_type")
    ]  # fmt: skip
    check_totals(context)


def test_events_too_old_or_ahead_are_told_by_reason(
    context: JobContext, ingest_into: Callable[..., Outcome], write_till: WriteTill,
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(LOGGER, "propagate", True)
    settings = load_settings(overrides=["events.max_bad_share=1", "events.horizon_days=400"])
    strict = JobContext(settings, context.spark, context.lakehouse)
    now = pd.Timestamp.now("Europe/London").tz_localize(None)
    times = {days: f"{now + pd.Timedelta(days=days):%Y-%m-%d %H:%M:%S}" for days in (-401, -399, 0, 0.5, 2)}
    ingest_into(strict, "till", write_till("1.csv", *[line(f"e{days}", at=at) for days, at in times.items()]))
    assert ids(context) == ["e-399", "e0", "e0.5"]
    found = context.lakehouse.read("events_quarantine").collect()
    assert sorted((row["line"], row["reason"]) for row in found) == [(2, "beyond_horizon"), (6, "future")]
    assert "check=learned_before_it_happened rows=1" in caplog.text


def test_encodings_are_named(make_mapping: Callable[..., SourceMapping]) -> None:
    with pytest.raises(ValueError, match="utf-16"):
        make_mapping(text={"encoding": "utf-16"})
