"""The same flow under ``--env standalone``: a master and a worker as processes of their own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.integration.conftest import Run, Shop, pipeline_words, rows, small_options, start_job
from tests.integration.standalone import Cluster, standalone
from tests.integration.test_end_to_end import same_data, wait_for

# One worker runs them all: they share the undisturbed warehouse.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("integration")]
RUN_SECONDS = 900


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with standalone(tmp_path) as found:
        yield found


def test_the_flow_on_a_standalone_cluster(cluster: Cluster, undisturbed: Run, shop: Shop, tmp_path: Path) -> None:
    warehouse, elsewhere = tmp_path / "warehouse", tmp_path / "elsewhere"
    elsewhere.mkdir()
    words = ["run_pipeline", *cluster.options(sys.executable), *pipeline_words(shop.raw, tmp_path / "report")]
    process = start_job([*words, "--warehouse", str(warehouse), *small_options()], tmp_path / "job.log", elsewhere)
    code = process.wait(timeout=RUN_SECONDS)
    assert code == 0, cluster.complaints() + (tmp_path / "job.log").read_text(errors="replace")[-4000:]
    there = type(undisturbed.lakehouse)(undisturbed.lakehouse.spark, str(warehouse))
    found, expected = rows(there, "scores"), rows(undisturbed.lakehouse, "scores")
    assert list(found["user_id"]) == list(expected["user_id"])
    np.testing.assert_allclose(found["intent"], expected["intent"], atol=1e-5)
    assert (tmp_path / "report" / "index.html").exists()
    assert not list(elsewhere.iterdir()), "the job wrote into its working directory"


def test_events_are_ingested_once_though_executors_die(
    cluster: Cluster, undisturbed: Run, shop: Shop, tmp_path: Path
) -> None:
    """kill -9 of every executor at the beginning and after each step; the worker starts others."""
    warehouse, log = tmp_path / "warehouse", tmp_path / "job.log"
    words = ["ingest_events", *cluster.options(sys.executable), "--source", "simulated_shop"]
    process = start_job([*words, "--input", str(shop.raw), "--warehouse", str(warehouse)], log, tmp_path)
    killed = 0
    for step in ("inspect", "map", "decide", "write_events"):
        wait_for(f"step=ingest_events.{step}", log, process)
        for executor in cluster.executors():
            executor.kill()
            killed += 1
    assert process.wait(timeout=RUN_SECONDS) == 0, log.read_text(errors="replace")[-4000:]
    assert killed >= 2
    there = type(undisturbed.lakehouse)(undisturbed.lakehouse.spark, str(warehouse))
    same_data(Run(there, tmp_path, undisturbed.outcome), undisturbed, ("events",))
    for table in ("ingest_ledger", "events_quarantine"):
        ours, theirs = (lakehouse.read(table).count() for lakehouse in (there, undisturbed.lakehouse))
        assert ours == theirs > 0, table
    [ours], [theirs] = (
        [row.asDict() for row in lakehouse.read("ingest_ledger").collect()]
        for lakehouse in (there, undisturbed.lakehouse)
    )
    counted = ("read", "accepted", "duplicate", "quarantined")
    assert [ours[c] for c in counted] == [theirs[c] for c in counted]
