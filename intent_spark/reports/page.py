"""Pages: a template filled in, and a file written in one step."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import jinja2


def fill(template: str, **values: Any) -> str:
    """The template of this folder as HTML; equal values give equal text.

    Raises:
        jinja2.UndefinedError: the template names a value that was not given.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("intent_spark", "reports"),
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template(template).render(**values)


def write_page(text: str, target: Path) -> Path:
    """Write a page into its folder (made if missing) in one step and give back its path."""
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
    return target
