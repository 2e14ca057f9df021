"""What the set-up believes, and what it says when the system lacks something; nothing is installed here."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = [
    "awk",
    "bash",
    "cat",
    "cut",
    "dirname",
    "env",
    "flock",
    "grep",
    "id",
    "mkdir",
    "mv",
    "paste",
    "rm",
    "sed",
    "sha256sum",
    "stat",
    "tail",
    "tr",
]
JARS = ("delta-spark_4.2_2.13-4.4.0.jar", "delta-storage-4.4.0.jar")


def executable(path: Path, lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{lines}\n", encoding="utf-8")
    path.chmod(0o755)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone with nothing set up, and a PATH with neither Python, Java, compiler, make nor apt-get."""
    root = tmp_path / "clone"
    shutil.copytree(ROOT / "tools", root / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "requirements.txt", root)
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        (tmp_path / "bin" / tool).symlink_to(str(shutil.which(tool)))
    return root


def set_up(clone: Path, **environment: str) -> tuple[int, str, str]:
    variables = {"PATH": str(clone.parent / "bin"), "JVM_DIR": str(clone.parent / "jvm"), **environment}
    done = subprocess.run([clone / "tools" / "setup.sh"], env=variables, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout, done.stderr


def make_complete(clone: Path) -> str:
    """Lay out what a complete set-up leaves, with stand-ins; return the JAVA_HOME."""
    java = clone.parent / "java"
    report = "    java.specification.version = 17\\n    java.home = " + str(java)
    executable(java / "bin" / "java", f"printf '{report}\\n' >&2")
    executable(clone / ".venv" / "bin" / "python", '[ "$1" = -V ] && echo "Python 3.11.9"')
    jars = clone / "build" / "jars"
    jars.mkdir(parents=True)
    for jar in JARS:
        (jars / jar).write_bytes(b"jar")
    files = ("requirements.txt", "tools/setup.sh", "tools/check_packages.py", "tools/archive_classes.py")
    content = b"".join((clone / file).read_bytes() for file in files)
    digest = hashlib.sha256(content + f"Python 3.11.9\n{clone}\n".encode()).hexdigest()
    (clone / ".venv" / ".complete").write_text(f"{digest}  -\n", encoding="utf-8")
    (clone / "build" / "classes.jsa").write_bytes(b"classes")
    said = subprocess.run([java / "bin" / "java"], capture_output=True, text=True, check=True).stderr
    (clone / "build" / "classes.stamp").write_text(f"7\n{said}{digest}  -\n", encoding="utf-8")
    return str(java)


def test_what_is_missing_is_one_sentence_and_exit_2(clone: Path) -> None:
    code, out, sentence = set_up(clone)
    assert (code, out) == (2, "")
    assert len(sentence.splitlines()) == 1
    assert "Python 3.11 with venv, Java 17 or 21, a C++17 compiler, make" in sentence
    assert "apt-get install python3.11 python3.11-venv openjdk-17-jdk-headless g++ make" in sentence
    assert not (clone / ".venv").exists()


def test_an_old_java_is_named_in_the_sentence(clone: Path) -> None:
    java = clone.parent / "bin" / "java"
    executable(java, "printf '    java.specification.version = 1.8\\n    java.home = /old\\n' >&2")
    code, _, sentence = set_up(clone)
    assert code == 2
    assert sentence.strip().endswith("Found instead: java on the PATH is Java 8.")


def test_missing_things_are_asked_of_apt_where_that_is_possible(clone: Path) -> None:
    binaries, asked = clone.parent / "bin", clone.parent / "asked"
    (binaries / "id").unlink()
    executable(binaries / "id", "echo 0")
    executable(binaries / "apt-get", f'echo "$@" >>{asked}')
    code, out, _ = set_up(clone)
    assert code == 2
    assert "apt-get install python3.11 python3.11-venv openjdk-17-jdk-headless g++ make ..." in out
    update, install = asked.read_text(encoding="utf-8").splitlines()
    assert update.endswith("update")
    assert install.endswith("python3.11 python3.11-venv openjdk-17-jdk-headless g++ make")


def test_a_complete_set_up_is_believed_silently(clone: Path) -> None:
    assert set_up(clone, JAVA_HOME=make_complete(clone)) == (0, "", "")


def test_an_archive_of_classes_that_was_cut_short_is_made_again(clone: Path) -> None:
    """The stand-in for Python can make none: jobs start later, and that is not tried again with this Java."""
    java_home = make_complete(clone)
    (clone / "build" / "classes.jsa").write_bytes(b"class")
    code, out, said = set_up(clone, JAVA_HOME=java_home)
    assert (code, said) == (0, "")
    assert "archive of Java's classes ... failed" in out
    assert out.endswith("set-up: jobs will start later than they could\n")
    assert not (clone / "build" / "classes.jsa").exists()
    assert set_up(clone, JAVA_HOME=java_home) == (0, "", "")


@pytest.mark.parametrize("change", ["pins", "moved", "no stamp", "no jar", "no java"])
def test_a_set_up_that_no_longer_fits_is_not_believed(clone: Path, change: str) -> None:
    java_home = make_complete(clone)
    if change == "pins":
        with (clone / "requirements.txt").open("a", encoding="utf-8") as pins:
            pins.write("six==1.0\n")
    elif change == "moved":
        clone = clone.rename(clone.parent / "elsewhere")
    elif change == "no stamp":
        (clone / ".venv" / ".complete").unlink()
    elif change == "no jar":
        (clone / "build" / "jars" / JARS[1]).unlink()
    else:
        java_home = ""
    code, _, sentence = set_up(clone, JAVA_HOME=java_home)
    assert code == 2
    assert "missing on this system" in sentence
    assert not (clone / ".venv" / ".complete").exists()
