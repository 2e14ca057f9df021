"""Writes Java's archive of the classes that every job loads; a JVM that maps it starts some seconds sooner.

python -m tools.archive_classes FILE: runs one small job as ``spark-submit.sh`` would, and its JVM writes the archive as
it ends.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from pyspark import SparkContext

from intent_spark.config.loading import load_settings
from intent_spark.dimensions.job import IngestItems
from intent_spark.lakehouse.session import JAVA_OPTIONS, spark_session
from intent_spark.pipeline.cli import main as run

PATIENCE_SECONDS = 120
SCRATCH = "classes-"


def main(target: Path) -> None:
    """Write the archive; it has its name only when it is whole."""
    target.unlink(missing_ok=True)  # a JVM that uses an archive writes none
    for left in target.parent.glob(f"{SCRATCH}*"):  # by one that was killed
        shutil.rmtree(left)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=SCRATCH) as scratch:
        archive = Path(scratch) / target.name
        _ingest_items(Path(scratch), f"-XX:ArchiveClassesAtExit={archive} -Xlog:cds=error")
        _end_java()
        with archive.open("rb") as written:
            os.fsync(written.fileno())
        archive.replace(target)


def _ingest_items(folder: Path, java: str) -> None:
    """Reads text, checks it, makes Delta tables, merges into them and reads them: what most jobs do."""
    (folder / "items").mkdir()
    item = {"item_id": "i1", "category": "shoes", "brand": "b", "price": "1.00", "title": "t"}
    (folder / "items" / "snapshot.jsonl").write_text(json.dumps(item) + "\n", encoding="utf-8")
    environment = load_settings().environment
    conf = environment.conf | {JAVA_OPTIONS: java, "spark.ui.showConsoleProgress": "false"}
    # The job finds this session and takes it.
    spark_session(environment.model_copy(update={"conf": conf}), "archive_classes")
    words = ["--source", "simulated_shop", "--format", "jsonl", "--input", str(folder), "--date", "2026-01-01"]
    try:
        run(IngestItems(), [*words, "--warehouse", str(folder / "warehouse")])
    except SystemExit as left:
        if left.code:
            raise


def _end_java() -> None:
    context, gateway = SparkContext._active_spark_context, SparkContext._gateway
    assert context is not None and gateway is not None
    context.stop()
    gateway.shutdown()
    gateway.proc.stdin.close()  # by which it knows that Python is gone
    gateway.proc.wait(PATIENCE_SECONDS)


if __name__ == "__main__":
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    main(Path(sys.argv[1]).absolute())
