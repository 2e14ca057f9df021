"""What Delta raises where two commits meet, and doing work again after it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from delta import exceptions
from deltalake.exceptions import CommitFailedError
from pyspark.errors import AnalysisException

CONFLICTS = (
    exceptions.ConcurrentAppendException,
    exceptions.ConcurrentDeleteDeleteException,
    exceptions.ConcurrentDeleteReadException,
    exceptions.ConcurrentTransactionException,
    exceptions.ConcurrentWriteException,
    exceptions.MetadataChangedException,
    exceptions.ProtocolChangedException,
    CommitFailedError,
)
# What making a table raises where somebody else has just begun to: its log's folder is there, and no commit in it yet.
BEGUN = ("[DELTA_TABLE_NOT_FOUND]", "[DELTA_CREATE_TABLE_WITH_NON_EMPTY_LOCATION]")
TRIES, LONGEST_WAIT_SECONDS = 8, 0.5
T = TypeVar("T")


def retried(work: Callable[[], T]) -> T:
    """Do work on a table again where somebody else's commit came between; a commit that conflicts leaves nothing."""
    for _ in range(TRIES):
        try:
            return work()
        except CONFLICTS:
            time.sleep(random.uniform(0, LONGEST_WAIT_SECONDS))
        except AnalysisException as error:
            if not any(code in str(error) for code in BEGUN):
                raise
            time.sleep(LONGEST_WAIT_SECONDS)
    return work()
