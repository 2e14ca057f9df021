"""The page of features: from a small warehouse to HTML."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from intent_spark.config.errors import UsageError
from intent_spark.config.loading import load_settings
from intent_spark.lakehouse.job import JobContext
from intent_spark.lakehouse.lakehouse import Lakehouse
from intent_spark.profiles.contract import feature_columns
from intent_spark.profiles.describe import DescribeFeatures
from intent_spark.profiles.job import BuildProfiles
from tests.profiles.frames import add_events, at, small_features
from tests.profiles.naive_oracle import Event
from tests.profiles.test_build_profiles import run

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("profiles")]


@pytest.fixture(scope="module")
def measured(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> JobContext:
    settings = load_settings().model_copy(update={"features": small_features()})
    lakehouse = Lakehouse(spark, str(tmp_path_factory.mktemp("described") / "warehouse"))
    context = JobContext(settings, spark, lakehouse)
    bought = [Event("ann", f"e{n}", "purchase", at(f"2026-03-0{n}"), "<shoes>", "i", 100 * n, 1) for n in (1, 2, 3)]
    add_events(lakehouse, [*bought, Event("bob", "b", "view", at("2026-03-02"), "hats", "i", 50, 1)], "b1")
    run(BuildProfiles(), context, "--as-of", "2026-03-03", "--as-of", "2026-03-04")
    return context


def card(html: str, name: str) -> str:
    found = re.search(rf'<article class="feature" id="{name}">(.*?)</article>', html, re.DOTALL)
    assert found, name
    return " ".join(re.sub(r"<[^>]+>", " ", found[1]).split())


def test_every_feature_has_its_card(measured: JobContext, tmp_path: Path) -> None:
    done = run(DescribeFeatures(), measured, "--user", "ann", "--report", str(tmp_path))
    html = (tmp_path / "features.html").read_text(encoding="utf-8")
    names = [column.name for column in feature_columns(measured.settings.features)]
    assert re.findall(r'<article class="feature" id="(\w+)">', html) == names
    assert done.rows_out == len(names)
    assert "snapshot of 2026-03-04 · 2 users" in html and "model none yet · values shown of user ann" in html
    spent = card(html, "spend_7d")
    assert "purchase → sum" in spent and "sum of price * quantity over purchase" in spent
    assert "sample user 600" in spent and "without value 0.0 %" in spent and "median 0" in spent
    assert "stability" in spent and "against the snapshot before" in spent
    assert "buys_7d, n_7d → derived" in card(html, "buys_per_event")
    assert "&lt;shoes&gt;" in card(html, "last_category_lifetime"), "text of the shop's is escaped"
    assert "without value 50.0 %" in card(html, "first_category_2d")


def test_a_population_that_left_the_models_training_is_marked(measured: JobContext, tmp_path: Path) -> None:
    stored = DeltaTable(measured.lakehouse.path("profile_stats"))
    stored.update({"stability_training": "0.31"}, predicate="feature = 'spend_7d'")
    run(DescribeFeatures(), measured, "--report", str(tmp_path))
    html = (tmp_path / "features.html").read_text(encoding="utf-8")
    assert "stability 0.310 against the training snapshots" in card(html, "spend_7d")
    assert html.count('class="moved">0.310 against') == 1
    assert "training" not in card(html, "buys_7d")


def test_the_same_page_every_time_and_another_snapshot(measured: JobContext, tmp_path: Path) -> None:
    pages = []
    for folder, words in (("a", ()), ("b", ()), ("c", ("--as-of", "2026-03-03"))):
        run(DescribeFeatures(), measured, "--report", str(tmp_path / folder), *words)
        pages.append((tmp_path / folder / "features.html").read_text(encoding="utf-8"))
    assert pages[0] == pages[1]
    assert "snapshot of 2026-03-03" in pages[2]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--as-of", "2026-03-02"), "'profile_stats' lacks 2026-03-02; run build_profiles --as-of 2026-03-02 first"),
        (("--user", "stranger"), "user stranger has no profile as of 2026-03-04"),
    ],
)
def test_what_is_not_there(measured: JobContext, words: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        run(DescribeFeatures(), measured, *words)


def test_a_warehouse_without_profiles(measured: JobContext, tmp_path: Path) -> None:
    empty = replace(measured, lakehouse=Lakehouse(measured.spark, str(tmp_path / "nothing")))
    with pytest.raises(UsageError, match="has no table 'profiles'; run build_profiles first"):
        run(DescribeFeatures(), empty)
