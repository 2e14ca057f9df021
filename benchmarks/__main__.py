"""``python -m benchmarks [NAME]...``: run the named benchmarks, or all of them."""

from __future__ import annotations

import importlib
import os
import platform
import sys

NAMES = ("simulation",)


def main(names: list[str]) -> int:
    """Run the benchmarks and print their figures with the machine they were measured on."""
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        print(f"unknown benchmark {', '.join(unknown)}; there are {', '.join(NAMES)}.", file=sys.stderr)  # noqa: T201
        return 2
    print(f"machine: {os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}")  # noqa: T201
    for name in names or NAMES:
        importlib.import_module(f"benchmarks.{name}").main()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
