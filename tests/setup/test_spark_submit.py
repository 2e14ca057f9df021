"""The launcher's choice of Python and Java, with stand-ins for both."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHOW = 'case "$1" in -c) exit 0;; esac\necho "{name} $@ JAVA_HOME=${{JAVA_HOME:-}} PYTHONPATH=$PYTHONPATH"'


def executable(path: Path, lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{lines}\n", encoding="utf-8")
    path.chmod(0o755)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    root = tmp_path / "clone"
    (root / "tools").mkdir(parents=True)
    shutil.copy(ROOT / "spark-submit.sh", root)
    shutil.copy(ROOT / "tools" / "find_java.sh", root / "tools")
    for tool in ("awk", "bash", "dirname", "env", "readlink"):
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / tool).symlink_to(str(shutil.which(tool)))
    return root


def submit(clone: Path, *arguments: str, **environment: str) -> tuple[int, str, str]:
    variables = {"PATH": str(clone.parent / "bin"), "JVM_DIR": str(clone.parent / "jvm"), **environment}
    command = [clone / "spark-submit.sh", *arguments]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout.strip(), done.stderr.strip()


def complete(clone: Path) -> None:
    executable(clone / ".venv" / "bin" / "python", SHOW.format(name="venv"))
    (clone / ".venv" / ".complete").touch()


def java(clone: Path, version: str) -> str:
    home = clone.parent / f"java{version}"
    report = f"    java.home = {home}\\n    java.specification.version = {version}\\n"
    executable(home / "bin" / "java", f"printf '{report}' >&2")
    return str(home)


@pytest.mark.parametrize("begun", [False, True])
def test_without_a_complete_set_up_it_says_what_to_run(clone: Path, begun: bool) -> None:
    if begun:
        complete(clone)
        (clone / ".venv" / ".complete").unlink()
    sentence = f"The set-up was not run or not completed: run 'make setup' in {clone} first."
    assert submit(clone, "score_users") == (2, "", sentence)


def test_a_job_gets_the_clones_python_its_package_and_java(clone: Path) -> None:
    complete(clone)
    home = java(clone, "17")
    code, out, err = submit(clone, "score_users", "--as-of", "2024-03-01", JAVA_HOME=home)
    launched = "venv -m intent_spark.pipeline.launcher score_users --as-of 2024-03-01"
    assert (code, out, err) == (0, f"{launched} JAVA_HOME={home} PYTHONPATH={clone}", "")


@pytest.mark.parametrize("arguments", [["--help"], ["score_users", "--help"], []])
def test_help_needs_no_java(clone: Path, arguments: list[str]) -> None:
    complete(clone)
    code, out, err = submit(clone, *arguments)
    assert (code, err) == (0, "")
    assert "-m intent_spark.pipeline.launcher" in out


def test_a_job_without_a_fitting_java_is_one_sentence(clone: Path) -> None:
    complete(clone)
    code, out, err = submit(clone, "score_users", JAVA_HOME=java(clone, "11"))
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "JAVA_HOME is Java 11" in err


def test_a_named_python_goes_before_the_clones_own(clone: Path) -> None:
    complete(clone)
    named = clone.parent / "named"
    executable(named, SHOW.format(name="named"))
    code, out, _ = submit(clone, "--help", INTENT_SPARK_PYTHON=str(named))
    assert (code, out.split()[0]) == (0, "named")


def test_another_python_that_has_the_packages_will_do(clone: Path) -> None:
    executable(clone.parent / "bin" / "python3", SHOW.format(name="other"))
    code, out, _ = submit(clone, "--help")
    assert (code, out.split()[0]) == (0, "other")
