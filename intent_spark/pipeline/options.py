"""The command-line options of a job: those that all jobs share, and its own."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import NoReturn

from intent_spark.config.errors import EXIT_USAGE
from intent_spark.lakehouse.job import Job


class SentenceParser(ArgumentParser):
    """A parser whose refusal is one sentence."""

    def error(self, message: str) -> NoReturn:
        """Leave with exit code 2."""
        self.exit(EXIT_USAGE, f"{self.prog}: {message}; see --help.\n")


def build_parser(job: Job) -> ArgumentParser:
    """The parser of a job."""
    parser = SentenceParser(prog=job.name, description=job.description, allow_abbrev=False)
    parser.add_argument("--env", default="local", help="where to run: a file in conf/env/ (default: local)")
    parser.add_argument("--warehouse", help="where the tables live (default: warehouse in conf/base.yaml)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a setting")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and change nothing")
    job.add_options(parser)
    return parser
