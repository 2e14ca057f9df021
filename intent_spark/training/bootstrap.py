"""What a rank's process runs first. Sent to it by value, since the package may not be importable there yet.

Spark puts files given by ``--py-files`` on the path of its own Python workers; a rank is a child of such
a worker and does not inherit that path. So the driver's path entries that exist here and the archives in
the worker's directory are added. Only the standard library is used at the top of this module.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import signal
import sys
from pathlib import Path
from typing import Any

ARCHIVES = ("*.whl", "*.zip", "*.egg")


def run_entry(entry: str, payload: str, driver_path: list[str]) -> Any:
    """Import ``module:function`` and call it with the payload."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    here = Path(os.environ.get("HOROVOD_SPARK_WORK_DIR", "."))
    archives = [str(path) for pattern in ARCHIVES for path in sorted(here.glob(pattern))]
    known = set(sys.path)
    sys.path += [path for path in (*archives, *driver_path) if path not in known and Path(path).exists()]
    module, function = entry.split(":")
    return getattr(importlib.import_module(module), function)(payload)


def end_with_parent(by: signal.Signals) -> None:
    """Let the kernel send this process a signal when the thread that started it ends (Linux: prctl)."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, int(by))
