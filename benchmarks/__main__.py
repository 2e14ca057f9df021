"""``python -m benchmarks [NAME]... [--events N]``: run the named benchmarks, or all of them."""

from __future__ import annotations

import argparse
import os
import platform
import sys

from benchmarks import all_features, ingestion, profiles, sequences, simulation, training

BENCHMARKS = {
    "simulation": lambda _: simulation.main(),
    "ingestion": ingestion.formats,
    "one_more_day": ingestion.one_more_day,
    "profiles": profiles.main,
    "sequences": sequences.main,
    "all_features": all_features.main,
    "training": lambda _: training.main(),
}


def main(words: list[str]) -> int:
    """Run the benchmarks and print their figures with the machine they were measured on."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; all if none is named")
    parser.add_argument("--events", type=int, default=50_000_000, help="events of the made-up shop (50 million)")
    parser.add_argument("--events-a-user", type=int, default=50, help="how many of them a user has (50)")
    parser.add_argument("--days", type=int, default=91, help="over how many days they are spread (91)")
    parser.add_argument("--ingested", type=int, default=20_000_000, help="events that are ingested (20 million)")
    options = parser.parse_args(words)
    unknown = sorted(set(options.names) - set(BENCHMARKS))
    if unknown:
        parser.error(f"unknown benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}.")
    print(f"machine: {os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}")  # noqa: T201
    for name in options.names or BENCHMARKS:
        BENCHMARKS[name](options)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
