"""The wheel holds what a cluster needs: package, jobs, configuration, templates, and the pins."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("intent_spark", "jobs", "conf", "setup.py", "pyproject.toml", "requirements.txt")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    copy = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy)
    command = [sys.executable, "setup.py", "-q", "bdist_wheel", "-d", "dist"]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return zipfile.ZipFile(next((copy / "dist").glob("*.whl")))


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    name = next(name for name in wheel.namelist() if name.endswith("dist-info/METADATA"))
    return Parser().parsestr(wheel.read(name).decode())


def packaged(folder: str, pattern: str, target: str) -> set[str]:
    return {f"{target}/{path.relative_to(ROOT / folder)}" for path in (ROOT / folder).rglob(pattern)}


def test_it_holds_every_module_job_configuration_and_template(wheel: zipfile.ZipFile) -> None:
    wanted = packaged("intent_spark", "*.py", "intent_spark") | packaged("jobs", "*.py", "intent_spark/jobs")
    for pattern in ("*.yaml", "*.properties"):
        wanted |= packaged("conf", pattern, "intent_spark/conf")
    for pattern in ("*.html", "*.j2"):
        wanted |= packaged("intent_spark", pattern, "intent_spark")
    assert wanted - set(wheel.namelist()) == set()


def test_it_holds_no_tests_and_no_tools(wheel: zipfile.ZipFile) -> None:
    roots = {name.split("/")[0] for name in wheel.namelist()}
    assert roots == {"intent_spark", "intent_spark-0.1.0.dist-info"}


def test_its_requirements_are_the_pins_by_section(metadata: Message) -> None:
    requirements = set(metadata.get_all("Requires-Dist", []))
    assert {"pyspark==4.2.0", "delta-spark==4.4.0", "pydantic==2.14.3"} <= requirements
    assert 'horovod==0.28.1; extra == "train"' in requirements
    assert 'tensorflow-cpu==2.18.1; extra == "train"' in requirements
    assert all("==" in requirement for requirement in requirements)
    assert set(metadata["Requires-Python"].split(",")) == {">=3.11", "<3.12"}


def test_it_brings_the_command(wheel: zipfile.ZipFile) -> None:
    name = next(name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert "intent-spark = intent_spark.pipeline.launcher:main" in wheel.read(name).decode()
