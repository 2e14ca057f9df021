"""How a process that has done its work ends."""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import suppress
from typing import NoReturn


def leave(code: int) -> NoReturn:
    """End the process with this exit code: Python's own exit handlers are run, libraries are not unloaded.

    Now and then a thread of Arrow's that has just read a file aborts the process as its library is unloaded, and what
    is done seems to have failed (apache/arrow, issue 34314).
    """
    try:
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):  # whoever read it is gone
                stream.flush()
    finally:
        os._exit(code)
