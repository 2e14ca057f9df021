"""``python -m benchmarks [NAME]... [--events N]``: run the named benchmarks, or all of them."""

from __future__ import annotations

import argparse
import os
import platform
import sys

from benchmarks import ingestion, profiles, simulation

BENCHMARKS = {"simulation": lambda _: simulation.main(), "ingestion": ingestion.main, "profiles": profiles.main}


def main(words: list[str]) -> int:
    """Run the benchmarks and print their figures with the machine they were measured on."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; all if none is named")
    parser.add_argument("--events", type=int, help="events (default: 20 million to ingest, 50 million to profile)")
    options = parser.parse_args(words)
    unknown = sorted(set(options.names) - set(BENCHMARKS))
    if unknown:
        parser.error(f"unknown benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}.")
    print(f"machine: {os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}")  # noqa: T201
    for name in options.names or BENCHMARKS:
        BENCHMARKS[name](options.events)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
