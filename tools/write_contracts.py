"""Write docs/data-contracts.md from the contracts in the code."""

from __future__ import annotations

import sys
from pathlib import Path

from intent_spark.config.loading import load_settings
from intent_spark.dimensions.contract import ITEMS, USERS
from intent_spark.events.contract import EVENTS, EVENTS_QUARANTINE, INGEST_LEDGER
from intent_spark.events.quality_contract import DAY_FIGURES, GATE_ACCEPTANCES, HEAVY_USERS
from intent_spark.feedback.contract import EVALUATIONS, OUTCOMES
from intent_spark.lakehouse.contract import describe
from intent_spark.lakehouse.job_runs import JOB_RUNS
from intent_spark.profiles.contract import profiles_contract, states_contract, user_days_contract
from intent_spark.profiles.snapshot_statistics import PROFILE_STATS
from intent_spark.scoring.contract import SCORES

HEADER = """# Data contracts

Written from the contracts in the code by `make contracts`; the columns of `user_days` and `profiles` follow
`conf/features.yaml`. `examples` holds the columns of `profiles` and `label` (1 where the user bought within the
horizon), `spent` (what these purchases came to), `churned` (1 where the user had no event at all), `split` (train,
refit, validation or test) and `weight`.

"""


def page() -> str:
    """The whole page."""
    features = load_settings().features
    tables = [EVENTS, EVENTS_QUARANTINE, INGEST_LEDGER, DAY_FIGURES, GATE_ACCEPTANCES, HEAVY_USERS, USERS, ITEMS]
    tables.append(user_days_contract(features))
    tables += [
        states_contract(features),
        profiles_contract(features),
        PROFILE_STATS,
        SCORES,
        OUTCOMES,
        EVALUATIONS,
        JOB_RUNS,
    ]
    return HEADER + describe(tables)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
