"""``ingest_users`` on small snapshots: versions, reruns, faults."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from intent_spark.config.errors import ContractError
from intent_spark.dimensions.job import IngestUsers
from intent_spark.lakehouse.job import JobContext, execute
from intent_spark.lakehouse.job_runs import Outcome
from intent_spark.pipeline.options import build_parser

ANN = {"user_id": "ann", "age": "30", "gender": "female", "city_tier": 1, "registration_date": "2026-01-05"}


def ingest(context: JobContext, folder: Path, *users: dict[str, object]) -> Outcome:
    (folder / "users").mkdir(exist_ok=True)
    (folder / "users" / "snapshot.jsonl").write_text(
        "\n".join(json.dumps(u | {"marketing_consent": True}) for u in users)
    )
    job = IngestUsers()
    words = ["--source", "simulated_shop", "--input", str(folder)]
    return execute(job, context, build_parser(job).parse_args(words))


@pytest.mark.slow
def test_a_snapshot_twice_then_a_change(context: JobContext, tmp_path: Path) -> None:
    assert ingest(context, tmp_path, ANN).rows_out == 1
    assert ingest(context, tmp_path, ANN).status == "nothing_to_do"
    moved = ANN | {"city_tier": 2, "registration_date": "2026-02-01"}
    assert ingest(context, tmp_path, ANN, moved).rows_out == 2
    known = context.lakehouse.as_known_at("users", date(2026, 1, 31)).collect()
    assert [(row["user_id"], row["city_tier"], row["valid_to"]) for row in known] == [("ann", 1, date(2026, 2, 1))]


@pytest.mark.slow
def test_what_does_not_cast_is_null_and_what_has_no_key_is_refused(context: JobContext, tmp_path: Path) -> None:
    ingest(context, tmp_path, ANN | {"age": "thirty"})
    assert context.lakehouse.read("users").collect()[0]["age"] is None
    with pytest.raises(ContractError, match="1 rows of users have no user_id or no valid_from"):
        ingest(context, tmp_path, ANN, ANN | {"user_id": None})
    assert context.lakehouse.read("users").count() == 1
