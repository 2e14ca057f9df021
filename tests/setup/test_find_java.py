"""Which Java is used, with fake ones that tell a version and nothing more."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

FIND_JAVA = Path(__file__).resolve().parents[2] / "tools" / "find_java.sh"


def fake_java(home: Path, version: str) -> Path:
    java = home / "bin" / "java"
    java.parent.mkdir(parents=True)
    properties = f"    java.home = {home}\n    java.specification.version = {version}"
    java.write_text(f"#!/bin/sh\necho '{properties}' >&2\n", encoding="utf-8")
    java.chmod(0o755)
    return home


def find_java(tmp_path: Path, path: Path | None = None, java_home: Path | None = None) -> tuple[int, str, str]:
    first = f"{path / 'bin'}:" if path else ""
    tools = tmp_path / "tools"
    tools.mkdir(exist_ok=True)
    for name in ("bash", "env", "awk"):
        if not (tools / name).exists():
            (tools / name).symlink_to(Path("/usr/bin") / name)
    environment = {"PATH": f"{first}{tools}", "JVM_DIR": str(tmp_path / "jvm")}
    if java_home:
        environment["JAVA_HOME"] = str(java_home)
    done = subprocess.run([FIND_JAVA], env=environment, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout.strip(), done.stderr.strip()


@pytest.mark.parametrize("version", ["17", "21"])
def test_a_fitting_java_on_the_path_is_used_silently(tmp_path: Path, version: str) -> None:
    java = fake_java(tmp_path / "on_path", version)
    assert find_java(tmp_path, path=java) == (0, str(java), "")


def test_java_home_goes_before_the_path(tmp_path: Path) -> None:
    named = fake_java(tmp_path / "named", "21")
    on_path = fake_java(tmp_path / "on_path", "17")
    assert find_java(tmp_path, path=on_path, java_home=named) == (0, str(named), "")


@pytest.mark.parametrize(("reported", "said"), [("1.8", "8"), ("11", "11"), ("25", "25")])
def test_another_java_first_on_the_path_is_said_and_passed_over(tmp_path: Path, reported: str, said: str) -> None:
    on_path = fake_java(tmp_path / "on_path", reported)
    installed = fake_java(tmp_path / "jvm" / "java-17-openjdk", "17")
    code, home, note = find_java(tmp_path, path=on_path)
    assert (code, home) == (0, str(installed))
    assert note == (f"Note: java on the PATH is Java {said}, Spark needs 17 or 21: using Java 17 in {installed}.")


def test_an_old_java_home_is_said_and_the_path_is_used(tmp_path: Path) -> None:
    old = fake_java(tmp_path / "old", "11")
    on_path = fake_java(tmp_path / "on_path", "17")
    code, home, note = find_java(tmp_path, path=on_path, java_home=old)
    assert (code, home) == (0, str(on_path))
    assert note.startswith("Note: JAVA_HOME is Java 11,")


def test_a_folder_named_17_with_another_version_is_not_believed(tmp_path: Path) -> None:
    fake_java(tmp_path / "jvm" / "java-17-broken", "11")
    code, home, _ = find_java(tmp_path)
    assert (code, home) == (2, "")


def test_only_an_old_java_is_one_sentence_that_names_it(tmp_path: Path) -> None:
    on_path = fake_java(tmp_path / "on_path", "1.8")
    code, home, sentence = find_java(tmp_path, path=on_path)
    assert (code, home) == (2, "")
    assert len(sentence.splitlines()) == 1
    assert "not found (java on the PATH is Java 8)" in sentence
    assert "openjdk-17-jdk-headless" in sentence


def test_no_java_and_a_java_home_without_one_are_one_sentence(tmp_path: Path) -> None:
    code, home, sentence = find_java(tmp_path, java_home=tmp_path / "nowhere")
    assert (code, home) == (2, "")
    assert sentence.startswith("Java 17 or 21 is needed and was not found: install it")
