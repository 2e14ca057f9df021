"""Run a training's ranks, and tell what went wrong in the words of the rank that failed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from intent_spark.config.errors import ContractError, UsageError
from intent_spark.config.log import LOGGER
from intent_spark.training.launchers import Launcher
from intent_spark.training.rank import RESULT
from intent_spark.training.task import RankTask

# What Horovod says of an exchange that another rank left; within a TensorFlow graph only the transport's own words.
ECHOES = ("HorovodInternalError", "Horovod has been shut down", "gloo/transport/")


def run_ranks(launcher: Launcher, task: RankTask, ranks: int) -> None:
    """Run the task on ``ranks`` ranks and return when rank 0 has written its result.

    Raises:
        UsageError: the launcher cannot start so many ranks here.
        ContractError: a rank refused its data.
        RuntimeError: a rank failed; the message ends with that rank's own error.
    """
    launcher.check()
    scratch = Path(task.scratch)
    try:
        launcher.run(task)
    except (UsageError, ContractError):
        raise
    except Exception as error:
        if not _is_done(scratch):
            raise_rank_error(scratch, error, ranks)
        LOGGER.warning("step=train_intent.ranks a rank died after the training had ended: %s", error)
    if not (scratch / RESULT).is_file():
        raise_rank_error(scratch, None, ranks)


def _is_done(scratch: Path) -> bool:
    """Whether the ranks wrote their result, which is the last that they do, and none told of an error."""
    return (scratch / RESULT).is_file() and not list(scratch.glob("error-*.json"))


def raise_rank_error(scratch: Path, cause: BaseException | None, ranks: int) -> None:
    """Raise the error that a rank wrote down: a refusal first, then one that is no echo of another rank's."""
    reports = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(scratch.glob("error-*.json"))]
    reports.sort(key=lambda report: (not report["refused"], _is_echo(report)))
    if reports and reports[0]["refused"]:
        raise ContractError(reports[0]["error"]) from cause
    if reports and not _is_echo(reports[0]):
        first = reports[0]
        raise RuntimeError(f"Rank {first['rank']} failed: {first['error']}\n{first['traceback']}") from cause
    silent = sorted(set(range(ranks)) - {report["rank"] for report in reports})
    who = f"Rank {', '.join(map(str, silent))}" if silent and (reports or ranks == 1) else "A rank"
    echoed = f"; rank {reports[0]['rank']} then failed: {reports[0]['error']}" if reports else f": {cause}"
    raise RuntimeError(f"{who} ended without a word (killed, or out of memory?){echoed}") from cause


def _is_echo(report: dict[str, Any]) -> bool:
    """Whether the rank failed only because another one was gone."""
    return any(echo in report["error"] or echo in report["traceback"] for echo in ECHOES)
