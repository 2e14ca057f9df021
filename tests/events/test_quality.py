"""Days measured as they come in: a failed gate holds a day back until somebody lets it pass; heavy users are listed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from intent_spark.config.errors import ContractError, UsageError
from intent_spark.config.loading import load_source
from intent_spark.events.job import IngestEvents
from intent_spark.lakehouse.job import Job, JobContext, Plan, execute
from intent_spark.lakehouse.job_runs import Outcome
from intent_spark.lakehouse.lakehouse import Lakehouse
from intent_spark.lakehouse.quality import failed_gates, gate_history
from intent_spark.pipeline.options import build_parser
from intent_spark.pipeline.status import ShowStatus
from intent_spark.profiles.job import BuildProfiles
from tests.events.test_ingest import line
from tests.profiles.test_build_profiles import few_features, quiet_settings

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("till"), pytest.mark.xdist_group("quality")]
WriteTill = Callable[..., Path]

MONDAYS = [date(2026, 1, 5) + timedelta(weeks=n) for n in range(5)]
GATES = """
gates:
  null_share: {item_id: {warn: 0.2, fail: 0.5}}
  unknown_types: {fail: 0.25}
  duplicates: {warn: 0.1}
  low_volume: {warn: 0.3, fail: 0.6}
  top_user: {warn: 0.5}
  price_outside: {lowest: 100, highest: 1000, fail: 0.5}
  least_events: 4
"""


def sale(number: int, day: date, **changes: str) -> str:
    told = {"who": f"u{number}", "at": f"{day} 10:{number:02}:00"}
    return line(f"{day}-{number}", **(told | changes))


def run(job: Job, context: JobContext, *words: str) -> Outcome:
    return execute(job, context, build_parser(job).parse_args(list(words)))


def ingest(context: JobContext, file: Path, *words: str) -> Outcome:
    return run(IngestEvents(), context, "--source", "till", "--input", str(file), *words)


def dry_run(context: JobContext, file: Path) -> Plan:
    job = IngestEvents()
    options = build_parser(job).parse_args(["--source", "till", "--input", str(file), "--dry-run"])
    return job.plan(context, options)


def accept(context: JobContext, *words: str) -> Outcome:
    return run(IngestEvents(), context, *words)


def build(context: JobContext, as_of: date) -> Outcome:
    return run(BuildProfiles(), context, "--as-of", as_of.isoformat())


def figures(context: JobContext, day: date) -> dict[str, tuple[Any, str]]:
    rows = gate_history(context.lakehouse)
    return {r["gate"]: (r["value"], r["status"]) for r in rows if r["event_date"] == day}


@pytest.fixture
def shop(spark: SparkSession, till: Path, tmp_path: Path) -> JobContext:
    """A warehouse whose features count three events of a user's day."""
    till.write_text(till.read_text() + GATES)
    settings = quiet_settings(few_features(daily_cap=3))
    events = settings.events.model_copy(update={"max_bad_share": 1.0})
    settings = settings.model_copy(update={"events": events})
    return JobContext(settings, spark, Lakehouse(spark, str(tmp_path / "warehouse")))


def test_a_day_is_held_back_until_somebody_lets_it_pass(
    shop: JobContext, write_till: WriteTill, capsys: pytest.CaptureFixture[str]
) -> None:
    usual = [sale(n, day) for day in MONDAYS[:4] for n in range(10)]
    ingest(shop, write_till("usual.csv", *usual))
    assert figures(shop, MONDAYS[0])["low_volume"] == (None, "open"), "nothing is usual yet"
    assert figures(shop, MONDAYS[3])["low_volume"] == (0.0, "pass")
    before = MONDAYS[3] + timedelta(days=1)
    assert build(shop, before).status == "succeeded"

    thin = [sale(n, MONDAYS[4], **({} if n else {"item": ""})) for n in range(3)]
    file = write_till("thin.csv", *thin, sale(9, MONDAYS[4], what="steal"))
    version = shop.lakehouse.version("events")
    shown = dry_run(shop, file).report.splitlines()
    assert shown[0] == f"source till: {load_source('till').description}"
    assert shown[1].startswith("fail     gate 2026-02-02  low_volume 0.7 (warn above 0.3, fail above 0.6)")
    assert shown[-1] == "gates: 1 judged on 1 days, 1 beyond a limit"
    assert shop.lakehouse.version("events") == version, "a dry run writes nothing"
    ingest(shop, file)
    assert figures(shop, MONDAYS[4])["low_volume"] == (pytest.approx(0.7), "fail")
    assert figures(shop, MONDAYS[4])["null_share.item_id"] == (None, "open"), "three events are too few"
    tuesday = MONDAYS[4] + timedelta(days=1)
    wanted = (
        r"a quality gate failed: 2026-02-02 low_volume 0\.7 above 0\.6 \(source till\); mend the source and ingest the "
        r"day again, or let it pass by ingest_events --accept-gate 2026-02-02:low_volume --by YOUR_NAME\."
    )
    with pytest.raises(ContractError, match=wanted) as caught:
        build(shop, tuesday)
    assert caught.value.exit_code == 3
    assert build(shop, before).status == "nothing_to_do", "days before it go on"
    run(ShowStatus(), shop)
    assert "failed quality gates:\n  2026-02-02 low_volume 0.7 above 0.6 (source till)" in capsys.readouterr().out

    with pytest.raises(
        UsageError, match="--accept-gate 2026-02-02:top_user: no such gate has failed and waits; waiting"
    ):
        accept(shop, "--accept-gate", "2026-02-02:top_user", "--by", "ann")
    nameless = build_parser(IngestEvents()).parse_args(["--accept-gate", "2026-02-02:low_volume"])
    with pytest.raises(UsageError, match="--accept-gate needs --by NAME"):
        IngestEvents().check_options(nameless)
    accept(shop, "--accept-gate", "2026-02-02:low_volume", "--by", "ann", "--because", "shop closed at noon")
    kept = shop.lakehouse.read("gate_acceptances").collect()
    assert [(r["gate"], r["accepted_by"], r["because"]) for r in kept] == [("low_volume", "ann", "shop closed at noon")]
    assert build(shop, tuesday).status == "succeeded"

    worse = [sale(n, MONDAYS[4], who="u0", price="99") for n in range(20, 25)]
    ingest(shop, write_till("more.csv", *worse))
    found = figures(shop, MONDAYS[4])
    assert found["low_volume"] == (pytest.approx(0.2), "pass")
    assert found["price_outside"] == (pytest.approx(5 / 8), "fail")
    assert found["unknown_types"] == (pytest.approx(1 / 9), "pass"), "of all batches that brought the day"
    assert found["top_user"] == (pytest.approx(6 / 8), "warn")
    assert [gate.gate for gate in failed_gates(shop.lakehouse)] == ["price_outside"]
    with pytest.raises(ContractError, match="price_outside"):
        build(shop, tuesday)


def test_users_above_the_daily_cap_are_listed_kept_and_counted_up_to_it(
    shop: JobContext, write_till: WriteTill
) -> None:
    day, other = MONDAYS[0], MONDAYS[1]
    bot = [sale(n, day, who="bot") for n in range(7)]
    ingest(shop, write_till("bot.csv", *bot, sale(8, day), sale(9, day), sale(8, other)))
    heavy = shop.lakehouse.read("heavy_users").collect()
    assert [(r["event_date"], r["user_id"], r["events"], r["counted"]) for r in heavy] == [(day, "bot", 7, 3)]
    assert shop.lakehouse.read("events").where("user_id = 'bot'").count() == 7
    build(shop, other)
    counts = {r["user_id"]: r["n_7d"] for r in shop.lakehouse.read("profiles").collect()}
    assert counts == {"bot": 3, "u8": 1, "u9": 1}
    # One more event of the bot, and earlier than all others: it counts in the place of the last of them.
    ingest(shop, write_till("late.csv", sale(50, day, who="bot", at=f"{day} 01:00:00")))
    assert shop.lakehouse.read("heavy_users").where("events = 8").count() == 1
    build(shop, other)
    assert {r["user_id"]: r["n_7d"] for r in shop.lakehouse.read("profiles").collect()}["bot"] == 3


def test_a_replay_takes_its_rows_out_of_the_unknown_types(shop: JobContext, write_till: WriteTill, till: Path) -> None:
    day = MONDAYS[0]
    file = write_till("new.csv", *[sale(n, day) for n in range(4)], *[sale(n, day, what="gift") for n in (5, 6)])
    ingest(shop, file)
    assert figures(shop, day)["unknown_types"] == (pytest.approx(2 / 6), "fail")
    till.write_text(till.read_text().replace("sale: purchase", "sale: purchase, gift: purchase"))
    run(IngestEvents(), shop, "--replay", "--reason", "unknown_event_type")
    assert figures(shop, day)["unknown_types"] == (0.0, "pass")
    assert failed_gates(shop.lakehouse) == []


def test_a_day_that_still_runs_is_judged_once_it_is_over(
    shop: JobContext, write_till: WriteTill, monkeypatch: pytest.MonkeyPatch
) -> None:
    from intent_spark.events import quality

    ingest(shop, write_till("usual.csv", *[sale(n, day) for day in MONDAYS[:4] for n in range(10)]))
    with monkeypatch.context() as patch:
        patch.setattr(quality.Measuring, "today", property(lambda self: MONDAYS[4]))
        ingest(shop, write_till("morning.csv", sale(1, MONDAYS[4])))
    assert figures(shop, MONDAYS[4])["low_volume"] == (None, "open")
    ingest(shop, write_till("next.csv", sale(1, MONDAYS[4] + timedelta(days=1))))
    assert figures(shop, MONDAYS[4])["low_volume"] == (pytest.approx(0.9), "fail")
