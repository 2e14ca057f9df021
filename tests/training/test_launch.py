"""What a rank's end means for the training."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from intent_spark.training.launch import run_ranks
from intent_spark.training.rank import RESULT
from intent_spark.training.task import RankTask


@dataclass
class Dying:
    """Ranks that leave some files behind, and then one dies."""

    files: dict[str, Any]

    def check(self) -> None:
        """Anything goes."""

    def run(self, task: RankTask) -> None:
        for name, content in self.files.items():
            (Path(task.scratch) / name).write_text(json.dumps(content))
        raise ChildProcessError("rank 1 ended with -6")


def die(scratch: Path, files: dict[str, Any]) -> None:
    run_ranks(cast(Any, Dying(files)), cast(RankTask, SimpleNamespace(scratch=str(scratch))), 2)


def test_a_rank_that_dies_after_the_result_was_written_loses_nothing(tmp_path: Path) -> None:
    die(tmp_path, {RESULT: {}})


def test_a_rank_that_dies_before_or_after_an_error_ends_the_job(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="ended without a word .*rank 1 ended with -6"):
        die(tmp_path, {})
    told = {"rank": 1, "refused": False, "error": "ValueError: no", "traceback": "…"}
    with pytest.raises(RuntimeError, match="Rank 1 failed: ValueError: no"):
        die(tmp_path, {RESULT: {}, "error-1.json": told})
