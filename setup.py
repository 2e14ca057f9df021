"""The installable package: intent_spark with its jobs and its configuration, as a cluster installs it."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent


def pins(section: str) -> list[str]:
    """Return the pins of one section of requirements.txt; lines marked ``#build:`` are pins as well."""
    found: list[str] = []
    current = ""
    for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines():
        if header := re.match(r"# \[(\w+)\]", line):
            current = header[1]
        elif current == section and (pin := re.match(r"(?:#build: *)?(\w[\w.-]*==[\w.]+)", line)):
            found.append(pin[1])
    return found


def version() -> str:
    """Return ``__version__`` without importing the package."""
    text = (ROOT / "intent_spark" / "__init__.py").read_text(encoding="utf-8")
    match = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    if match is None:
        raise ValueError("intent_spark/__init__.py has no __version__")
    return match[1]


setup(
    name="intent-spark",
    version=version(),
    description="Purchase intent for every user, from raw events to scores, on Spark, Delta and Horovod",
    license="Apache-2.0",
    python_requires=">=3.11,<3.12",
    packages=[
        *find_packages(include=["intent_spark", "intent_spark.*"]),
        "intent_spark.jobs",
        "intent_spark.conf",
    ],
    package_dir={"intent_spark.jobs": "jobs", "intent_spark.conf": "conf"},
    package_data={
        "intent_spark": ["**/*.html", "**/*.j2"],
        "intent_spark.conf": ["**/*.yaml", "**/*.yml", "**/*.properties"],
    },
    install_requires=pins("runtime"),
    extras_require={"train": pins("train"), "dev": pins("dev")},
    entry_points={"console_scripts": ["intent-spark = intent_spark.pipeline.launcher:main"]},
)
