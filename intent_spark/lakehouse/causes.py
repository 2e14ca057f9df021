"""What an error of Spark's comes from: it wraps what a file or a worker said in many."""

from __future__ import annotations

from typing import Any


def java_chain(error: BaseException) -> list[str]:
    """What each Java exception behind an error says, the outermost first; none where no Java is behind it."""
    java: Any = getattr(error, "java_exception", None) or getattr(error, "_origin", None)
    told: list[str] = []
    while java is not None:
        told.append(str(java.toString()))
        java = java.getCause()
    return told


def root_cause(error: BaseException) -> str:
    """The innermost cause, in one line."""
    chain = java_chain(error)
    lines = [line.strip() for line in (chain[-1] if chain else str(error)).splitlines() if line.strip()]
    return lines[0] if lines else "no message"


AVRO_IS_LACKING = "avro files need Spark's module for them: run 'tools/setup.sh avro' once."


def lacks_avro(error: BaseException) -> bool:
    """Whether Spark was asked for avro files without the module that reads them."""
    return "find data source: avro" in str(error)
