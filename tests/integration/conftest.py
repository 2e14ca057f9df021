"""One small simulated shop, and its pipeline run undisturbed: what the disturbed runs are compared with."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from pyspark.sql import SparkSession

from intent_spark.config.features import FeaturesConfig
from intent_spark.config.loading import conf_dir, load_settings
from intent_spark.config.settings import Settings
from intent_spark.lakehouse.job import JobContext, execute
from intent_spark.lakehouse.job_runs import Outcome
from intent_spark.lakehouse.lakehouse import Lakehouse
from intent_spark.pipeline.job import RunPipeline
from intent_spark.pipeline.options import build_parser
from intent_spark.profiles.contract import feature_columns
from intent_spark.simulation.simulate import SimulationSummary, simulate
from tests.conftest import QUICK_JAVA, ROOT

CONF = "INTENT_SPARK_CONF"
AS_OF = "2026-04-06"
# What candidates, segments and tests ask for by name.
NEEDED = re.compile(r"\w+_count|spend_sum|purchase_days|days_since_(first_)?(event|purchase)")
# Few dates and epochs: the tests ask whether the flow holds, not how well it ranks.
SMALL = (
    "examples.train_dates=1",
    "examples.step_days=7",
    "registry.record=false",
    "model.max_epochs=2",
    "model.hidden_units=8",
    "model.logistic_l2=[0.01]",
    "model.spend_weight=0.05",
    "profiles.statistics=false",
)


@dataclass(frozen=True)
class Shop:
    """Raw files of a simulated shop, and what was made."""

    raw: Path
    made: SimulationSummary


@dataclass(frozen=True)
class Run:
    """A warehouse after its pipeline."""

    lakehouse: Lakehouse
    report: Path
    outcome: Outcome


def pipeline_words(raw: Path, report: Path) -> list[str]:
    """The options of the pipeline over the small shop."""
    words = ["--source", "simulated_shop", "--input", str(raw), "--as-of", AS_OF, "--ranks", "2"]
    return [*words, "--truth", str(raw / "truth"), "--report", str(report)]


@pytest.fixture(scope="session")
def small_conf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped configuration with fewer features."""
    folder = tmp_path_factory.mktemp("configuration") / "conf"
    shutil.copytree(conf_dir(), folder)
    file = folder / "features.yaml"
    file.write_text(yaml.safe_dump(fewer_features(yaml.safe_load(file.read_text(encoding="utf-8")))), encoding="utf-8")
    return folder


@pytest.fixture(autouse=True)
def small_environment(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test of the small shop calls jobs, and starts them, under the shop's own configuration."""
    if "small_conf" in request.fixturenames:
        monkeypatch.setenv(CONF, str(request.getfixturevalue("small_conf")))


def fewer_features(tree: dict[str, Any]) -> dict[str, Any]:
    """One declaration of each kind over one or two windows, and the derived features that these still allow."""
    kinds = {(d["aggregate"], d.get("by"), "filter" in d): d["name"] for d in reversed(tree["windowed"])}
    tree["windowed"] = [
        d for d in tree["windowed"]
        if NEEDED.fullmatch(d["name"]) or kinds[d["aggregate"], d.get("by"), "filter" in d] == d["name"]
    ]  # fmt: skip
    for declared in tree["windowed"]:
        kept = [window for window in declared["windows"] if window in (7, 14, "lifetime")]
        declared["windows"] = kept or declared["windows"][:1]
    names = {c.name for c in feature_columns(FeaturesConfig.model_validate(tree | {"derived": []}))}
    needed = re.compile(r"[a-z]\w*_(?:\d+d|lifetime)\b")
    tree["derived"] = [d for d in tree["derived"] if set(needed.findall(d["expression"])) <= names]
    return tree


@pytest.fixture(scope="session")
def small_settings(small_conf: Path) -> Settings:
    """The shipped configuration, made small."""
    return load_settings("local", SMALL, small_conf)


@pytest.fixture(scope="session")
def shop(spark: SparkSession, small_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """500 customers over 43 days, with every declared imperfection but bots."""
    raw = tmp_path_factory.mktemp("shop") / "raw"
    quiet = small_settings.simulation.imperfections.model_copy(update={"bots": 0})
    config = small_settings.simulation.model_copy(update={"imperfections": quiet})
    return Shop(raw, simulate(spark, config, 500, 43, date(2026, 3, 1), 11, raw, "jsonl"))


@pytest.fixture(scope="session")
def run_here(spark: SparkSession, small_conf: Path, small_settings: Settings, shop: Shop) -> Callable[[Path], Run]:
    """Run the pipeline in this process on a warehouse."""

    def run(warehouse: Path) -> Run:
        lakehouse = Lakehouse(spark, str(warehouse))
        report = warehouse.parent / "report"
        options = build_parser(RunPipeline()).parse_args(pipeline_words(shop.raw, report))
        # Set here too: fixtures of the whole run are made before a test's own environment.
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(CONF, str(small_conf))
            outcome = execute(RunPipeline(), JobContext(small_settings, spark, lakehouse), options)
        return Run(lakehouse, report, outcome)

    return run


@pytest.fixture(scope="session")
def undisturbed(run_here: Callable[[Path], Run], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The pipeline, run once from nothing."""
    return run_here(tmp_path_factory.mktemp("undisturbed") / "warehouse")


def start_job(words: list[str], log: Path, cwd: Path) -> subprocess.Popen[bytes]:
    """A job in a process group of its own, by the launcher, from a folder that is not the checkout."""
    environment = os.environ | QUICK_JAVA | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "intent_spark.pipeline.launcher", *words]
    with log.open("wb") as output:
        return subprocess.Popen(
            command, cwd=cwd, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )


def small_options() -> list[str]:
    """The small settings as options of the launcher."""
    return [word for setting in SMALL for word in ("--set", setting)]


def rows(lakehouse: Lakehouse, table: str, drop: tuple[str, ...] = ()) -> pd.DataFrame:
    """A small table, sorted, without the columns that say when and by which version."""
    frame = lakehouse.read(table).drop(*drop).toPandas()
    return frame.sort_values(list(frame.columns[:2]), ignore_index=True)
