"""What must hold when modules are merely imported: import-linter sees imports, not when they run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def loaded_after_importing(modules: list[str]) -> set[str]:
    code = f"import importlib, sys\nfor name in {modules}: importlib.import_module(name)\nprint(*sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return {name.split(".")[0] for name in done.stdout.split()}


def test_no_job_loads_tensorflow_by_being_imported() -> None:
    jobs = [f"jobs.{path.stem}" for path in sorted((ROOT / "jobs").glob("[a-z]*.py"))]
    assert jobs
    assert not {"tensorflow", "keras", "horovod"} & loaded_after_importing(jobs)


def test_configuration_loads_neither_spark_nor_tensorflow() -> None:
    modules = [f"intent_spark.config.{path.stem}" for path in (ROOT / "intent_spark/config").glob("[a-z]*.py")]
    assert not {"pyspark", "tensorflow", "keras"} & loaded_after_importing(modules)
