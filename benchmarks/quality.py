"""How good the candidates are on real shops and on the simulated one: ``make bench-quality``.

Each source goes through ``run_pipeline`` as a user would run it, once for each seed; what is printed is read from the
``outcomes`` that the test date left. Nothing of the test window was seen in training.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from deltalake import DeltaTable

from intent_spark.models.intervals import auc_differences
from intent_spark.models.metrics import ScoreHistogram, share_of_ceiling, summary
from intent_spark.reports.table import text_table

ROOT = Path(__file__).resolve().parents[1]
LOGISTIC, TREES = "logistic", "gbdt"
FIGURES = ("auc", "pr_auc", "log_loss", "calibration_error")
# Made anew for each seed; everything else is the same for all of them.
OF_A_MODEL = ("models", "scores", "outcomes", "evaluations", "report")
FloatArray = npt.NDArray[np.float64]
# Labels of the test rows, each candidate's scores, the champion's name.
Outcome = tuple[FloatArray, dict[str, FloatArray], str]


@dataclass(frozen=True)
class Source:
    """A source with the test date of ``docs/real-data.md``. ``data`` lies in the folder of shared data."""

    name: str
    as_of: str
    data: str = ""
    options: tuple[str, ...] = ()


SOURCES = (
    Source("cdnow", "1997-09-30"),
    Source("online_retail", "2011-11-09", "online_retail/online_retail.parquet", ("--format", "parquet")),
    Source("taobao_userbehavior", "2017-12-03", "taobao_userbehavior/UserBehavior_814_users.csv"),
    Source("simulated_shop", "2026-04-23", options=("--format", "parquet")),
)
ONLINE_SHOPPERS = "online_shoppers"
NAMES = (*(source.name for source in SOURCES), ONLINE_SHOPPERS)


@dataclass(frozen=True, eq=False)
class Runs:
    """Users' labels [n] and, by candidate, their scores [n] of each seed's model; the champion of each."""

    labels: FloatArray
    scores: dict[str, list[FloatArray]]
    champions: list[str]

    def rows(self, ceiling: float | None) -> list[dict[str, object]]:
        """A row for each candidate, the best first: means over the seeds, and the paired interval."""
        apart = auc_differences(self.scores, self.labels, LOGISTIC, seed=1, draws=1000)
        rows = [self._row(name, ceiling) | _interval_cell(apart[name], name) for name in self.scores]
        return sorted(rows, key=lambda row: -float(str(row["auc"])))

    def _row(self, name: str, ceiling: float | None) -> dict[str, object]:
        found = [summary(ScoreHistogram.from_scores(scores, self.labels)) for scores in self.scores[name]]
        means = {key: round(float(np.mean([getattr(one, key) for one in found])), 4) for key in FIGURES}
        chosen = sum(champion == name for champion in self.champions)
        row: dict[str, object] = {"candidate": name, "champion": f"{chosen} of {len(self.champions)}"} | means
        if ceiling is not None:
            row["share of ceiling"] = round(share_of_ceiling(means["auc"], ceiling), 4)
        return row


def main(words: Sequence[str]) -> int:
    """Print a table for each source that is there, and what the network adds."""
    options = _options(words)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(options.keep or scratch).absolute()
        for source in SOURCES:
            if source.name in options.only:
                _measure(source, options, folder)
        if ONLINE_SHOPPERS in options.only:
            from benchmarks import online_shoppers

            online_shoppers.measure(Path(options.data), options.seeds, folder, options.set)
    return 0


def show(title: str, runs: Runs, ceiling: float | None = None) -> None:
    """The table of one source and the sentence about the network."""
    buyers = runs.labels.mean()
    print(f"\n{title}: {len(runs.labels):,} users, {buyers:.1%} positive, {len(runs.champions)} seeds")  # noqa: T201
    print(text_table(runs.rows(ceiling)), flush=True)  # noqa: T201
    for sentence in what_the_network_adds(runs):
        print(sentence, flush=True)  # noqa: T201


def what_the_network_adds(runs: Runs) -> list[str]:
    """What each network's AUC is above logistic regression's and the trees', and whether that is more than chance."""
    from intent_spark.config.model import encoder_names

    sentences = []
    for network in (name for name in encoder_names() if name in runs.scores):
        for other in (name for name in (LOGISTIC, TREES) if name in runs.scores):
            both = {name: runs.scores[name] for name in (network, other)}
            apart = auc_differences(both, runs.labels, other, seed=1, draws=1000)[network]
            verdict = "better" if apart.low > 0 else "worse" if apart.high < 0 else "no difference beyond chance"
            told = f"{apart.value:+.4f} ({apart.low:+.4f} to {apart.high:+.4f})"
            sentences.append(f"{network} beside {other}: AUC {told}, {verdict}.")
    return sentences


def _options(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-quality ARGS=…", description=__doc__)
    parser.add_argument("--only", action="append", choices=NAMES, help="a source; repeatable (default: all there are)")
    parser.add_argument("--data", default=str(ROOT.parent / "shared" / "data"), help="folder of the shared real data")
    parser.add_argument("--cdnow", help="CDNOW_master.txt, of the PyPI package lifetimes 0.11.3")
    parser.add_argument("--seeds", default="7,8,9", help="of the models (default: 7,8,9)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="configuration, as for a job")
    parser.add_argument("--keep", metavar="DIR", help="leave the warehouses there; what is there already is used")
    options = parser.parse_args(words)
    options.seeds = [int(seed) for seed in options.seeds.split(",")]
    options.only = options.only or NAMES
    return options


def _measure(source: Source, options: argparse.Namespace, folder: Path) -> None:
    raw = _raw(source, options, folder)
    if raw is None:
        return
    runs, ceiling = [], None
    for seed in options.seeds:
        warehouse = folder / source.name / f"seed-{seed}"
        _copy_of_first(folder / source.name / f"seed-{options.seeds[0]}", warehouse)
        settings = [word for setting in (*options.set, f"model.seed={seed}") for word in ("--set", setting)]
        truth = ("--truth", str(raw / "truth")) if source.name == "simulated_shop" else ()
        words = ("--source", source.name, "--input", str(raw), "--as-of", source.as_of, *source.options, *truth)
        _submit("run_pipeline", *words, "--warehouse", str(warehouse), *settings)
        runs.append(_outcomes(warehouse))
        ceiling = _ceiling(warehouse) if truth else None
    show(source.name, together(runs), ceiling)


def _raw(source: Source, options: argparse.Namespace, folder: Path) -> Path | None:
    """The raw data, made first where they are simulated; None, said on the screen, where they are not there."""
    if source.name == "simulated_shop":
        raw = folder / "raw"
        words = ("--users", "20000", "--days", "60", "--start-date", "2026-03-01", "--seed", "7", "--format", "parquet")
        _submit("simulate_events", *words, "--output", str(raw), "--warehouse", str(folder / "simulated"))
        return raw
    told = options.cdnow if source.name == "cdnow" else str(Path(options.data) / source.data)
    if told and Path(told).exists():
        return Path(told).absolute()
    print(f"\n{source.name}: left out, {told or '--cdnow FILE'} is not there", flush=True)  # noqa: T201
    return None


def _copy_of_first(first: Path, warehouse: Path) -> None:
    """Events and profiles are the same for every seed."""
    if first.exists() and not warehouse.exists():
        shutil.copytree(first, warehouse, ignore=lambda at, names: OF_A_MODEL if Path(at) == first else ())


def _submit(job: str, *words: str) -> None:
    """Raises SystemExit, with what the job said, where it fails."""
    command = [str(ROOT / "spark-submit.sh"), job, *words]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with exit code {done.returncode}:\n{done.stdout[-3000:]}")


def _outcomes(warehouse: Path) -> Outcome:
    """Labels, each candidate's scores, and the champion's name; users in the order of their ids."""
    table = DeltaTable(str(warehouse / "outcomes")).to_pyarrow_table(columns=["user_id", "label", "candidates"])
    table = table.sort_by("user_id")
    each = [dict(one) for one in table["candidates"].to_pylist()]
    scores = {name: np.array([one[name] for one in each], np.float64) for name in each[0]}
    figures = DeltaTable(str(warehouse / "evaluations")).to_pyarrow_table(columns=["candidate", "champion"])
    champion = next(row["candidate"] for row in figures.to_pylist() if row["champion"])
    return np.asarray(table["label"].to_numpy(), np.float64), scores, champion


def _ceiling(warehouse: Path) -> float | None:
    """AUC of the true probability given the events so far, where the shop is simulated."""
    table = DeltaTable(str(warehouse / "evaluations")).to_pyarrow_table(columns=["candidate", "segment", "auc"])
    rows = [r for r in table.to_pylist() if r["candidate"] == "ceiling: events so far" and r["segment"] == "all"]
    return float(rows[0]["auc"]) if rows else None


def together(runs: list[Outcome]) -> Runs:
    """The outcomes of several seeds' models on the same test rows."""
    names = [name for name in runs[0][1] if all(name in scores for _, scores, _ in runs)]
    scores = {name: [one[1][name] for one in runs] for name in names}
    return Runs(runs[0][0], scores, [champion for _, _, champion in runs])


def _interval_cell(apart: object, name: str) -> dict[str, object]:
    value, low, high = (getattr(apart, key) for key in ("value", "low", "high"))
    told = "" if name == LOGISTIC else f"{value:+.4f} ({low:+.4f} to {high:+.4f})"
    return {f"AUC minus {LOGISTIC}'s": told}


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.exit(main(sys.argv[1:]))
