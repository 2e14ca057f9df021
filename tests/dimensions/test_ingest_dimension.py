"""``ingest_users`` on small snapshots: versions, reruns, faults."""

from __future__ import annotations

import json
import shutil
from datetime import date
from pathlib import Path

import pytest

from intent_spark.config.errors import ContractError, UsageError
from intent_spark.config.loading import conf_dir
from intent_spark.dimensions.job import IngestItems, IngestUsers
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


CATALOGUE = """
items:
  path: "items-{date}.jsonl"
  kind: snapshot
  key: item_id
  valid_from: cast(listed as date)
  gone: withdrawn = 'yes'
  columns: {category: category, title: title, brand: "null", price: "cast(price as bigint)"}
"""


@pytest.mark.slow
def test_full_snapshots_of_items_in_any_order(
    context: JobContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is not in a snapshot is gone from its day on, whenever it arrives; whoever returns is there again."""
    conf = tmp_path / "conf"
    shutil.copytree(conf_dir(), conf)
    monkeypatch.setenv("INTENT_SPARK_CONF", str(conf))
    shop = (conf / "sources" / "simulated_shop.yaml").read_text()
    (conf / "sources" / "catalogue.yaml").write_text(shop[: shop.index("users:")] + CATALOGUE)
    days = {
        "2026-03-03": [("tea", "hot", ""), ("ice", "cold", "")],
        "2026-03-05": [("tea", "hot", ""), ("ice", "cold", "yes")],
        "2026-03-07": [("ice", "cold", "")],
    }
    for day, items in days.items():
        rows = [{"item_id": i, "category": c, "title": i, "price": "5", "listed": "2026-01-01", "withdrawn": w} for i, c, w in items]  # fmt: skip
        (tmp_path / f"items-{day}.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    job = IngestItems()
    words = ["--source", "catalogue", "--input", str(tmp_path)]
    with pytest.raises(UsageError, match="say which with --date DAY"):
        execute(job, context, build_parser(job).parse_args(words))
    for day in ("2026-03-05", "2026-03-07", "2026-03-03"):
        execute(job, context, build_parser(job).parse_args([*words, "--date", day]))
    again = execute(job, context, build_parser(job).parse_args([*words, "--date", "2026-03-07"]))
    assert again.status == "nothing_to_do"

    def there(day: int) -> list[str]:
        known = context.lakehouse.as_known_at("items", date(2026, 3, day)).collect()
        return sorted(row["item_id"] for row in known)

    assert [there(day) for day in (4, 6, 8)] == [["ice", "tea"], ["tea"], ["ice"]]
    gone = context.lakehouse.read("items").where("gone").collect()
    assert all(row["category"] is None for row in gone) and len(gone) == 2
