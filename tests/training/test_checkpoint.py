"""Snapshots on disk: written whole, the last few kept, a broken one passed over, another training's never taken."""

from __future__ import annotations

import fcntl
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from intent_spark.config.errors import ContractError, UsageError
from intent_spark.config.training import CheckpointSettings
from intent_spark.training.checkpoint import Checkpoints, Snapshot, newest, save
from intent_spark.training.collective import OneRank
from intent_spark.training.loop_net import RankData, fit_network, new_network
from intent_spark.training.schedule import learning_rate
from intent_spark.training.stream import Place
from intent_spark.training.work_folder import training_key, work_folder
from tests.models.lockstep import ThreadRank, in_lockstep
from tests.training.synthetic import memory_feed
from tests.training.test_loop_net import SCHEMA, config, share

SNAPSHOT = Snapshot(
    Place(2, 17, ((2, 5), (3, 1))), 2, 40, 12.25, 1 / 3, [{"epoch": 1, "train_loss": 0.1}], 1, 0.1 + 0.2,
    {"dense/kernel": np.eye(2, dtype=np.float32)}, [np.arange(3), np.array(0.1, np.float32)],
)  # fmt: skip


def equal(one: Snapshot, other: Snapshot) -> bool:
    arrays = [*zip(one.variables, other.variables, strict=True), (one.best["dense/kernel"], other.best["dense/kernel"])]
    simple = [replace(snapshot, variables=[], best={}) for snapshot in (one, other)]
    same = all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in arrays)
    return same and vars(simple[0]) == vars(simple[1])


def test_a_snapshot_comes_back_to_the_bit() -> None:
    assert equal(Snapshot.from_bytes(SNAPSHOT.to_bytes()), SNAPSHOT)


def test_the_last_ones_are_kept_and_a_broken_one_is_passed_over(tmp_path: Path) -> None:
    assert newest(tmp_path) is None
    for updates in (1, 2, 10):
        save(tmp_path, replace(SNAPSHOT, updates=updates), keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000000002.npz", "000000000010.npz"]
    content = (tmp_path / "000000000010.npz").read_bytes()
    for broken in (content[: len(content) // 2], b"", b"no archive"):
        (tmp_path / "000000000010.npz").write_bytes(broken)
        number, found = newest(tmp_path)  # type: ignore[misc]
        assert (number, found.updates) == (2, 2)


def test_every_rank_takes_what_rank_0_chose(tmp_path: Path) -> None:
    save(tmp_path / "lstm", SNAPSHOT, keep=2)

    def restore(_: int, rank: ThreadRank) -> Snapshot | None:
        return Checkpoints(tmp_path, CheckpointSettings(), rank).restore("lstm")

    assert all(equal(found, SNAPSHOT) for found in in_lockstep(restore, [0, 1, 2]) if found)
    assert Checkpoints(tmp_path, CheckpointSettings(), OneRank()).restore("gru") is None


def kept(folder: Path, settings: CheckpointSettings, **clock: float) -> list[int]:
    files = Checkpoints(folder, settings, OneRank())
    found = []
    for updates in range(1, 8):
        files.offer("lstm", lambda n=updates: replace(SNAPSHOT, updates=n), updates, epoch_ended=updates == 6)
        found += [n for n in [int(path.stem) for path in (folder / "lstm").glob("*.npz")] if n not in found]
    return sorted(found)


def test_cadence(tmp_path: Path) -> None:
    assert kept(tmp_path / "a", CheckpointSettings(every_steps=2)) == [2, 4, 6]
    assert kept(tmp_path / "b", CheckpointSettings()) == [6], "an epoch's end is kept"
    assert kept(tmp_path / "c", CheckpointSettings(every_seconds=1e-9)) == [1, 2, 3, 4, 5, 6, 7]
    assert kept(tmp_path / "d", CheckpointSettings(every_steps=1, keep=0)) == []


class Interrupted:
    """A keeper in memory that ends the training by an exception after some updates."""

    def __init__(self, after: int, found: Snapshot | None = None) -> None:
        self.after, self.found = after, found

    def restore(self, name: str) -> Snapshot | None:
        return self.found

    def offer(self, name: str, make: object, updates: int, epoch_ended: bool) -> None:
        if updates == self.after and not epoch_ended:
            self.found = Snapshot.from_bytes(make().to_bytes())  # type: ignore[operator]
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    "changes", [{"accumulate_steps": 3}, {"warmup_steps": 9, "embedding_dropout": 0.2}, {"warmup_steps": 3}]
)
def test_going_on_within_an_epoch_is_as_if_never_interrupted(changes: dict[str, object]) -> None:
    settings = config(max_epochs=2, **changes)
    data = RankData(memory_feed(share(500), SCHEMA, settings), share(100, seed=2))
    whole = fit_network(new_network(SCHEMA, settings), data, settings, OneRank())
    keeper = Interrupted(after=2)
    with pytest.raises(KeyboardInterrupt):
        fit_network(new_network(SCHEMA, settings), data, settings, OneRank(), keeper)
    keeper.after = -1
    resumed = fit_network(new_network(SCHEMA, settings), data, settings, OneRank(), keeper)
    assert [(e.train_loss, e.validation_loss) for e in resumed.epochs] == [
        (e.train_loss, e.validation_loss) for e in whole.epochs
    ]
    for path, values in whole.weights.items():
        np.testing.assert_array_equal(resumed.weights[path], values, err_msg=path)


def test_a_key_changes_with_whatever_decides_a_training() -> None:
    manifest = {"examples": {"version": 3}, "seed": 7}
    key = training_key(manifest, SCHEMA, config())
    assert key == training_key(dict(reversed(manifest.items())), SCHEMA, config())
    others = [
        training_key(manifest | {"examples": {"version": 4}}, SCHEMA, config()),
        training_key(manifest, replace(SCHEMA, max_length=9), config()),
        training_key(manifest, SCHEMA, config(dropout=0.2)),
    ]
    assert len({key, *others}) == 4


def test_the_work_folder_keeps_checkpoints_of_a_failure_and_nothing_else(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), work_folder(tmp_path, "abc") as folder:
        save(folder / "checkpoints" / "lstm", SNAPSHOT, keep=2)
        (folder / "error-0.json").write_text("{}")
        (folder / "candidates").mkdir()
        raise RuntimeError("rank 0 failed")
    with work_folder(tmp_path, "other") as other:
        assert not (other / "checkpoints").exists(), "another training's are not taken"
    with work_folder(tmp_path, "abc") as folder:
        assert sorted(path.name for path in folder.iterdir()) == ["checkpoints", "lock"]
        with pytest.raises(UsageError, match="running already"), work_folder(tmp_path, "abc"):
            pass
    assert list(tmp_path.iterdir()) == [], "a training that ended well leaves nothing"
    with pytest.raises(RuntimeError), work_folder(tmp_path, "abc"):
        raise RuntimeError("before the first checkpoint")
    with pytest.raises(ContractError), work_folder(tmp_path, "abc") as folder:
        save(folder / "checkpoints" / "lstm", SNAPSHOT, keep=2)
        raise ContractError("it diverged")
    assert list(tmp_path.iterdir()) == [], "what was refused would be refused again"


def test_what_nobody_came_back_for_is_removed(tmp_path: Path) -> None:
    folders = old, young, own, busy = [tmp_path / f".training-{name}" for name in ("old", "young", "own", "busy")]
    for folder in folders:
        (folder / "checkpoints").mkdir(parents=True)
    long_ago = time.time() - 15 * 86400
    with (busy / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for folder in (old, own, busy):
            os.utime(folder, (long_ago, long_ago))
        with work_folder(tmp_path, "own"):
            assert not old.exists()
            assert young.exists() and busy.exists()
            assert (own / "checkpoints").exists(), "who comes back late goes on"


def test_learning_rates() -> None:
    plain = config(learning_rate=0.1, learning_rate_decay=0.5)
    assert [learning_rate(plain, 4, epoch, 0) for epoch in range(3)] == [0.1, 0.05, 0.025]
    scaled = {
        kind: config(learning_rate=0.1, learning_rate_scaling=kind, accumulate_steps=2) for kind in ("sqrt", "linear")
    }
    assert learning_rate(scaled["linear"], 2, 0, 0) == pytest.approx(0.4)
    assert learning_rate(scaled["sqrt"], 2, 0, 0) == pytest.approx(0.2)
    warm = config(learning_rate=0.1, warmup_steps=4)
    assert [learning_rate(warm, 1, 0, n) for n in range(6)] == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.1])
