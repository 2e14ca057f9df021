"""The errors that are meant for the person who typed the command, and the exit codes they end in."""

from __future__ import annotations

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_REFUSED = 3


class IntentSparkError(Exception):
    """One sentence for the user: what is wrong, where, and what to do. No stack trace is shown for it."""

    exit_code = EXIT_FAILED


class UsageError(IntentSparkError):
    """Wrong usage or configuration: nothing was started."""

    exit_code = EXIT_USAGE


class InputError(IntentSparkError):
    """Raw data that cannot be read: nothing was written."""


class ContractError(IntentSparkError):
    """A data contract or a quality gate said no: nothing was written."""

    exit_code = EXIT_REFUSED


class UntrainableError(ContractError):
    """Nothing can be learnt with this configuration: a sum over all ranks, which agree on it, says so."""
