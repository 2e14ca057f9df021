"""Training: the feed beside tensors in memory, rows a second of each encoder, two ranks beside one, an epoch's memory.

Every figure is of processes of their own, held to the cores named, over a table of synthetic examples whose buyers had
a cart as their newest event. Times are of the wall clock.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.examples import BUCKETS, EVENTS, NUMBERS, schema, write_table
from intent_spark.config.loading import load_settings
from intent_spark.config.model import ModelConfig, encoder_names
from intent_spark.config.training import FeedSettings, HorovodSettings
from intent_spark.models.schema import FeatureSchema
from intent_spark.reports.table import text_table
from intent_spark.training.collective import Collective, HorovodRanks, OneRank
from intent_spark.training.feed import ExampleTable, SplitRows
from intent_spark.training.stream import Place, RankRows, TrainFeed, rank_rows, train_feed

FILE_ROWS = 65_536
STEPS, REPEATS = 40, 3
WINDOW_MB, MEMORY_MILLIONS = 64, (5, 20)
EMBEDDING_ROWS = (131_072, 1_048_576)  # below, no gradient travels as slices
TWO_RANKS = (
    sys.executable, "-m", "horovod.runner.launch", "-np", "2", "--gloo", "--network-interfaces", "lo",
)  # fmt: skip


def main(megarows: Iterable[int] = MEMORY_MILLIONS) -> None:
    """Print a table for each question."""
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "examples"
        write_table(table, FILE_ROWS, NUMBERS, EVENTS)
        questions: dict[str, Callable[[], list[dict[str, Any]]]] = {
            "milliseconds a step of lstm, by where its batches come from": lambda: _feed_rows(table),
            "rows a second of ranks that have a core each": lambda: _rank_rows(table),
            "rows a second of two ranks, by rows of the items' embedding": lambda: _embedding_rows(table),
            "an epoch of the feed alone, 256 MB for rows": lambda: _memory_rows(Path(folder), megarows),
            "seconds to 0.99 of the best AUC, one rank, one core": lambda: [_child("auc", table, "lstm")],
            "rows a second on one core, by encoder": lambda: [_child("encoder", table, n) for n in encoder_names()],
        }
        for title, answer in questions.items():
            print(f"\n{title}\n{text_table(answer())}", flush=True)  # noqa: T201


def _child(case: str, table: Path, *words: str, cores: str = "0", launcher: tuple[str, ...] = ()) -> dict[str, Any]:
    """What a process says that is held to ``cores``, as its last line of JSON.

    Raises:
        SystemExit: it failed; with the end of what it said.
    """
    command = ["taskset", "-c", cores, *launcher, sys.executable, "-m", "benchmarks.training", case, str(table), *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(
            f"benchmark {case} {' '.join(words)} ended with exit code {done.returncode}:\n{done.stderr[-3000:]}"
        )
    line = next(line for line in reversed(done.stdout.splitlines()) if "{" in line)
    found: dict[str, Any] = json.loads(line[line.index("{") :])
    return found


def _feed_rows(table: Path) -> list[dict[str, Any]]:
    return [{"cores": words} | row for words in ("0", "0,1") for row in _child("feed", table, cores=words)["ways"]]


def _rank_rows(table: Path) -> list[dict[str, Any]]:
    """The middle of some runs of each; they take turns, so that noise hits both."""
    ways = {"1": (), "2": TWO_RANKS}
    found = [
        {ranks: _child("ranks", table, ranks, cores="0,1", launcher=launcher) for ranks, launcher in ways.items()}
        for _ in range(REPEATS)
    ]
    middle = {ranks: sorted((run[ranks] for run in found), key=_rate)[REPEATS // 2] for ranks in ways}
    return [row | {"ratio": round(_rate(row) / _rate(middle["1"]), 2)} for row in middle.values()]


def _embedding_rows(table: Path) -> list[dict[str, Any]]:
    """The middle of some runs of each way, which take turns; dense is a table that travels whole."""
    rows = []
    for buckets in EMBEDDING_ROWS:
        words = ("2", str(buckets))
        found = [
            [_child("ranks", table, *words, way, cores="0,1", launcher=TWO_RANKS) for way in ("as decided", "dense")]
            for _ in range(REPEATS)
        ]
        decided, dense = (sorted(way, key=_rate)[REPEATS // 2] for way in zip(*found, strict=True))
        of = {"embedding rows": buckets, "decided": "slices" if _as_slices(buckets) else "dense"}
        ratio = {"ratio": round(_rate(decided) / _rate(dense), 2)}
        rows.append(of | {"as decided": decided["rows a second"], "dense": dense["rows a second"]} | ratio)
    return rows


def _as_slices(buckets: int) -> bool:
    from intent_spark.training.slices_net import travels_sparse

    config = _config()
    return travels_sparse((buckets, config.hashed_embedding_size), config.batch_size * config.max_length, 2)


def _rate(row: dict[str, Any]) -> float:
    return float(row["rows a second"])


def _memory_rows(folder: Path, megarows: Iterable[int]) -> list[dict[str, Any]]:
    rows = []
    for millions in megarows:
        table = folder / f"{millions}"
        write_table(table, 250_000, 8, 10, copies=4 * millions)
        rows.append(_child("memory", table, cores="0,1"))
    return rows


def _config(**changes: object) -> ModelConfig:
    return load_settings().model.model_copy(update=changes)


def _rows(table: str, split: str, collective: Collective, settings: FeedSettings, of: FeatureSchema) -> RankRows:
    place = (collective.rank, collective.size, collective.sum)
    return rank_rows(SplitRows.of(ExampleTable(table, 0), split, of, *place), settings, collective)


def _feed(
    table: str, config: ModelConfig, collective: Collective, memory_mb: int = 1024, of: FeatureSchema | None = None
) -> TrainFeed:
    settings = FeedSettings(memory_mb=memory_mb)
    return train_feed(_rows(table, "train", collective, settings, of or schema()), config, settings, collective)


def _network_step(config: ModelConfig, collective: Collective, of: FeatureSchema | None = None) -> tuple[Any, Any]:
    from intent_spark.training.loop_net import new_network
    from intent_spark.training.step_net import TrainStep, new_optimizer

    network = new_network(of or schema(), config)
    return network, TrainStep(network, new_optimizer(network, config), collective, config)


def _milliseconds(step: Any, ways: dict[str, Callable[[], Iterable[Any]]]) -> dict[str, tuple[float, float]]:
    """Wall clock and CPU of a step, by way: the middle of some runs; ways take turns, so that noise hits all."""
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for _ in range(REPEATS + 1):
        for way, batches in ways.items():
            wall, cpu, steps = time.perf_counter(), time.process_time(), 0
            for steps, batch in enumerate(batches(), start=1):
                step(*batch)
                if steps == STEPS:
                    break
            took = time.perf_counter() - wall, time.process_time() - cpu
            found[way].append((1000 * took[0] / steps, 1000 * took[1] / steps))
    return {way: tuple(np.median(times[1:], axis=0).tolist()) for way, times in found.items()}


def measure_feed(table: str) -> dict[str, Any]:
    """Steps from tensors, from a share that fits, and from windows that are read anew."""
    from intent_spark.training.prefetch_net import Prefetched

    config = _config()
    network, step = _network_step(config, OneRank())
    fits, windows = _feed(table, config, OneRank()), _feed(table, config, OneRank(), WINDOW_MB)
    tensors = [batch for batch, _ in zip(Prefetched(lambda: fits.batches(Place()), network, 2), range(STEPS))]  # noqa: B905
    ways: dict[str, Callable[[], Iterable[Any]]] = {
        "tensors in memory": lambda: tensors,
        "feed": lambda: Prefetched(lambda: fits.batches(Place()), network, 2),
        "feed, windows": lambda: Prefetched(lambda: windows.batches(Place()), network, 2),
    }
    found = _milliseconds(step, ways)
    wall, cpu = found["tensors in memory"]
    return {
        "ways": [
            {"way": way, "ms": round(ms[0], 1), "CPU ms": round(ms[1], 1)}
            | {"/ tensors": round(ms[0] / wall, 2), "/ tensors, CPU": round(ms[1] / cpu, 2)}
            for way, ms in found.items()
        ]
    }


def measure_encoder(table: str, encoder: str) -> dict[str, Any]:
    """One network's rows a second, fed."""
    from intent_spark.training.prefetch_net import Prefetched

    config = _config(encoder=encoder)
    network, step = _network_step(config, OneRank())
    feed = _feed(table, config, OneRank())
    took = _milliseconds(step, {encoder: lambda: Prefetched(lambda: feed.batches(Place()), network, 2)})[encoder]
    rates = [round(1000 * config.batch_size / ms) for ms in took]
    return {
        "encoder": encoder,
        "rows a second": rates[0],
        "rows a CPU second": rates[1],
        "ms a step": round(took[0], 1),
    }


def measure_ranks(table: str, ranks: str, buckets: str = str(BUCKETS), way: str = "as decided") -> dict[str, Any]:
    """Rows a second of all ranks together; each has a core of its own. ``dense``: no gradient travels as slices."""
    from intent_spark.models.intent_net import configure_threads
    from intent_spark.training import step_net
    from intent_spark.training.prefetch_net import Prefetched

    # Before Horovod starts its threads: they are held to the core that the process is held to then.
    os.sched_setaffinity(0, {int(os.environ.get("HOROVOD_RANK", "0"))})
    config = _config()
    # As a rank does: TensorFlow would make a thread for each core that it sees, held to one core or not.
    configure_threads(config.cores_per_rank)
    collective: Collective = OneRank() if ranks == "1" else HorovodRanks(HorovodSettings())
    if way == "dense":
        step_net.for_exchange = lambda gradient, *_: step_net.tf.convert_to_tensor(gradient)
    of = schema(buckets=int(buckets))
    network, step = _network_step(config, collective, of)
    feed = _feed(table, config, collective, of=of)
    steps = min(STEPS, feed.steps(Place()))
    took = []
    for _ in range(REPEATS + 1):
        batches = zip(Prefetched(lambda: feed.batches(Place()), network, 2), range(steps))  # noqa: B905
        collective.sum(np.zeros(1))
        started, cpu = time.perf_counter(), time.process_time()
        for batch, _number in batches:
            step(*batch)
        took.append((time.perf_counter() - started, time.process_time() - cpu))
    # The first round traces and compiles.
    wall, busy = (1000 * np.median(took[1:], axis=0) / steps).tolist()
    rate = 1000 * config.batch_size * collective.size / wall
    told = {"ms a step": round(wall, 1), "CPU ms a step": round(busy, 1)}
    return {"ranks": collective.size, "rows a second": round(rate)} | told


def measure_auc(table: str, encoder: str) -> dict[str, Any]:
    """When validation's AUC came within a hundredth of its best, from the first step on; begun as a training begins."""
    from scipy.special import expit

    from intent_spark.models.logistic import fit_logistic
    from intent_spark.models.metrics import ScoreHistogram, summary
    from intent_spark.training.feed import Share
    from intent_spark.training.loop_net import RankData, fit_network, new_network, start_from_logistic

    config, settings = _config(encoder=encoder), FeedSettings()
    share = _rows(table, "validation", OneRank(), settings, schema()).held()
    seen: list[tuple[float, float]] = []

    class Watched(Share):
        def score(self, scorer: Any) -> Any:
            heads = super().score(scorer)
            seen.append((time.perf_counter(), summary(ScoreHistogram.from_scores(expit(heads[:, 0]), self.labels)).auc))
            return heads

    watched = Watched(share.encoded, share.labels, share.weights, share.buckets)
    train, network = _rows(table, "train", OneRank(), settings, schema()).held(), new_network(schema(), config)
    start_from_logistic(network, fit_logistic(train.labelled(), config.logistic_l2[0]))
    trained = fit_network(network, RankData(_feed(table, config, OneRank()), watched), config, OneRank())
    epochs = seen[: len(trained.epochs) + 1]
    best = max(auc for _, auc in epochs)
    reached = next(moment for moment, auc in epochs if auc >= 0.99 * best)
    return {"encoder": encoder, "best AUC": round(best, 4), "seconds": round(reached - epochs[0][0], 1)} | {
        "epochs": next(n for n, (_, auc) in enumerate(epochs) if auc >= 0.99 * best), "of": len(trained.epochs)
    }  # fmt: skip


def measure_memory(table: str) -> dict[str, Any]:
    """Every batch of an epoch, taken and thrown away."""
    settings = FeedSettings(memory_mb=256, readers=2)
    config = _config(batch_size=4096)
    rows = _rows(table, "train", OneRank(), settings, schema(8, 10))
    feed = train_feed(rows, config, settings, OneRank())
    started = time.perf_counter()
    weight = sum(float(weights.sum()) for _, _, weights in feed.batches(Place()))
    seconds = time.perf_counter() - started
    assert weight == rows.total, "a row came twice or never"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {
        "million rows": round(rows.total / 1e6, 2),
        "peak GB": round(peak, 2),
        "rows a second": round(rows.total / seconds),
    }


CASES = {
    "feed": measure_feed,
    "encoder": measure_encoder,
    "ranks": measure_ranks,
    "auc": measure_auc,
    "memory": measure_memory,
}

if __name__ == "__main__":
    print(json.dumps(CASES[sys.argv[1]](*sys.argv[2:])))  # noqa: T201
