"""The shipped mappings on real data, beside counts made without Spark."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pyspark.sql import functions as F

from intent_spark.lakehouse.job import JobContext
from intent_spark.lakehouse.job_runs import Outcome

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
Ingest = Callable[..., Outcome]
pytestmark = pytest.mark.slow


def shared(name: str) -> Path:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{path} is absent: the README says where this data set comes from")
    return path


def ledger(context: JobContext) -> dict[str, Any]:
    [row] = context.lakehouse.read("ingest_ledger").collect()
    assert row["read"] == row["accepted"] + row["duplicate"] + row["quarantined"]
    return dict(row.asDict())


def reasons(context: JobContext) -> dict[str, int]:
    return {
        r["reason"]: r["count"] for r in context.lakehouse.read("events_quarantine").groupBy("reason").count().collect()
    }


def types(context: JobContext) -> dict[str, int]:
    return {
        r["event_type"]: r["count"] for r in context.lakehouse.read("events").groupBy("event_type").count().collect()
    }


def test_taobao(context: JobContext, ingest: Ingest) -> None:
    path = shared("taobao_userbehavior/UserBehavior_814_users.csv")
    frame = pd.read_csv(path, header=None, names=["user", "item", "category", "behavior", "seconds"])
    days = pd.to_datetime(frame["seconds"], unit="s", utc=True).dt.tz_convert("Asia/Shanghai").dt.strftime("%Y-%m-%d")
    inside = frame[(days >= "2017-11-25") & (days < "2017-12-04")]
    distinct = inside.drop_duplicates()
    ingest("taobao_userbehavior", path)
    row = ledger(context)
    assert row["read"] == len(frame) == 84_287
    assert reasons(context) == {"outside_date_range": len(frame) - len(inside)} == {"outside_date_range": 35}
    assert (row["accepted"], row["duplicate"]) == (len(distinct), len(inside) - len(distinct))
    # The source has no sessions: gaps cut them, and no session is of two users.
    sessions = context.lakehouse.read("events").groupBy("session_id").agg(F.countDistinct("user_id").alias("users"))
    assert sessions.where("users <> 1 or session_id is null").isEmpty() and sessions.count() > len(set(frame["user"]))
    assert {str(day): n for day, n in row["days"].items()} == days[distinct.index].value_counts().to_dict()
    names = {"pv": "view", "cart": "cart", "fav": "favourite", "buy": "purchase"}
    assert types(context) == distinct["behavior"].map(names).value_counts().to_dict()
    assert ingest("taobao_userbehavior", path).status == "nothing_to_do"


def test_online_retail(context: JobContext, ingest: Ingest, tmp_path: Path) -> None:
    archive = shared("online_retail/by-day.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path / "raw", filter="data")
    files = sorted((tmp_path / "raw").rglob("*.csv"))
    assert len(files) == 305
    # Every fourth day is enough to meet returns, blank customers and repeated rows.
    for number, file in enumerate(files):
        if number % 4:
            file.unlink()
    files = files[::4]
    # Text, as ingestion meets it: 2.1 and 2.10 are two rows.
    frame = pd.concat([pd.read_csv(file, dtype=str, keep_default_na=False) for file in files], ignore_index=True)
    identified = frame[frame["CustomerID"].str.strip() != ""]
    negative = identified["UnitPrice"].astype(float) < 0
    distinct = identified[~negative].drop_duplicates()
    returns = distinct["InvoiceNo"].str.startswith("C")
    ingest("online_retail", files[0].parent)
    row = ledger(context)
    assert row["read"] == len(frame) > 100_000
    assert reasons(context) == {"missing_user_id": len(frame) - len(identified)}
    assert row["accepted"] == len(distinct)
    assert row["duplicate"] == len(identified) - len(distinct)
    assert types(context) == {"purchase": int((~returns).sum()), "return": int(returns.sum())}
    assert {str(day): n for day, n in row["days"].items()} == distinct["InvoiceDate"].str[:10].value_counts().to_dict()
    [(amount,)] = context.lakehouse.read("events").selectExpr("sum(price * quantity)").collect()
    cents = (distinct["UnitPrice"].astype(float) * 100 + 1e-6).round().astype("int64")
    assert amount == int((cents * distinct["Quantity"].astype(int).abs()).sum())


def test_online_retail_whole_as_parquet(context: JobContext, ingest: Ingest) -> None:
    """The set's published figures. Customers' numbers are doubles there, with nulls: they become the text's ids."""
    ingest("online_retail", shared("online_retail/online_retail.parquet"), "--format", "parquet")
    row = ledger(context)
    assert (row["read"], row["duplicate"]) == (541_909, 5_225)
    assert reasons(context) == {"missing_user_id": 135_080}
    assert row["columns"]["CustomerID"] == "double"
    refused = context.lakehouse.read("events_quarantine")
    unnamed = refused.where("""raw like '%"InvoiceNo":"C%'""").count()
    frame = pd.read_parquet(shared("online_retail/online_retail.parquet"))
    cancelled = frame[frame["InvoiceNo"].str.startswith("C")]
    named = cancelled[cancelled["CustomerID"].notna()]
    assert len(cancelled) == 9_288 == unnamed + len(named)
    assert types(context)["return"] == len(named.drop_duplicates())
    assert context.lakehouse.read("events").where("user_id like '%.%'").isEmpty()


def test_rees46(context: JobContext, ingest: Ingest) -> None:
    path = shared("rees46/2019-Oct_first17434.csv")
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    ids = ["event_time", "event_type", "product_id", "price", "user_id", "user_session"]
    distinct = frame.drop_duplicates(ids)
    ingest("rees46", path)
    row = ledger(context)
    assert row["read"] == len(frame) == 17_434
    assert row["quarantined"] == 0
    assert row["accepted"] == len(distinct)
    assert types(context) == distinct["event_type"].value_counts().to_dict()
    assert context.lakehouse.read("events").where("category is null").isEmpty()


def test_cdnow(context: JobContext, ingest: Ingest) -> None:
    spec = find_spec("lifetimes")  # found, not imported: only its data file is wanted
    if spec is None or spec.origin is None:
        pytest.skip("the package 'lifetimes', which holds CDNOW_master.txt, is not installed")
    path = Path(spec.origin).parent / "datasets" / "CDNOW_master.txt"
    with path.open() as file:
        rows = [tuple(line.split()) for line in file.readlines()[1:] if line.strip()]
    ingest("cdnow", path)
    row = ledger(context)
    assert row["read"] == len(rows) == 69_659
    assert row["quarantined"] == 0
    assert row["accepted"] == len(set(rows))
    assert row["duplicate"] == len(rows) - len(set(rows))
    events = context.lakehouse.read("events")
    spent, items = events.selectExpr("sum(price * quantity)", "sum(quantity)").first() or (0, 0)
    assert items == sum(int(number) for _, _, number, _ in set(rows))
    # The price of an item is the mean of its order, to the cent: half a cent an item, at most, is lost or won.
    assert abs(spent - sum(round(float(amount) * 100) for *_, amount in set(rows))) <= items / 2
