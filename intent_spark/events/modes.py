"""What ``ingest_events`` may be asked to do, and which options each of these reads."""

from __future__ import annotations

from argparse import Namespace

from intent_spark.config.errors import UsageError

FILES = "files"
# By the option that asks for it; without any of these files are read.
MODES: dict[str, tuple[str, ...]] = {
    "accept_gate": ("by", "because"),
    "replay": ("source", "reason"),
    "available_now": ("source", "input", "format", "checkpoint", "per_batch"),
    FILES: ("source", "input", "format", "date", "start_date", "end_date", "sample", "accept_columns"),
}
NEEDED = {"replay": ("reason",), "available_now": ("source",), FILES: ("source", "input")}
OPTIONS = sorted({*MODES, *(option for options in MODES.values() for option in options)} - {FILES})


def check_mode(options: Namespace) -> None:
    """Refuse what is not read, and ask for what is missing.

    Raises:
        UsageError: it names the options.
    """
    mode = next((mode for mode in MODES if mode == FILES or getattr(options, mode)), FILES)
    given = [name for name in OPTIONS if getattr(options, name) and name not in (mode, *MODES[mode])]
    if given and mode != FILES:
        raise UsageError(f"{', '.join(map(_flag, given))} with {_flag(mode)} says nothing.")
    if given:
        owner = next(other for other, read in MODES.items() if given[0] in read)
        theirs = [_flag(name) for name in given if name in MODES[owner]]
        raise UsageError(f"{', '.join(theirs)} without {_flag(owner)} says nothing.")
    if missing := [_flag(name) for name in NEEDED.get(mode, ()) if getattr(options, name) is None]:
        raise UsageError(f"the following arguments are required: {', '.join(missing)}; see --help.")
    if mode == "accept_gate" and not (options.by or "").strip():
        raise UsageError("--accept-gate needs --by NAME: a gate is accepted by somebody.")
    if options.sample and not options.dry_run:
        raise UsageError("--sample only shows: use it with --dry-run.")


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
