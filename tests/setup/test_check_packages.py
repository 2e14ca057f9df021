"""An installation that was cut short is found, and forgotten on request."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from check_packages import forget, metadata_folders, unsound  # noqa: E402


def install(site_packages: Path, name: str, version: str) -> Path:
    module = site_packages / f"{name}.py"
    module.write_text("x = 1\n", encoding="utf-8")
    folder = site_packages / f"{name}-{version}.dist-info"
    folder.mkdir()
    record = f"{name}.py,sha256=abc,6\n{folder.name}/RECORD,,\n"
    (folder / "RECORD").write_text(record, encoding="utf-8")
    return folder


def test_a_whole_package_is_sound_whatever_its_name_is_spelt_like(tmp_path: Path) -> None:
    install(tmp_path, "some_Package", "1.2")
    assert unsound(["some-package==1.2"], tmp_path) == {}
    assert unsound(["some-package"], tmp_path) == {}


def test_a_missing_package_and_another_version_are_unsound(tmp_path: Path) -> None:
    folder = install(tmp_path, "other", "1.2")
    assert unsound(["absent==1.0", "other==1.3"], tmp_path) == {"absent==1.0": [], "other==1.3": [folder]}


@pytest.mark.parametrize("damage", ["no record", "file gone", "file cut short"])
def test_a_package_in_part_is_unsound(tmp_path: Path, damage: str) -> None:
    folder = install(tmp_path, "partly", "1.0")
    if damage == "no record":
        (folder / "RECORD").unlink()
    elif damage == "file gone":
        (tmp_path / "partly.py").unlink()
    else:
        (tmp_path / "partly.py").write_text("x =", encoding="utf-8")
    assert unsound(["partly==1.0"], tmp_path) == {"partly==1.0": [folder]}


def test_two_versions_at_once_are_unsound_and_both_are_forgotten(tmp_path: Path) -> None:
    folders = [install(tmp_path, "twice", "1.0"), install(tmp_path, "twice", "2.0")]
    problems = unsound(["twice==2.0"], tmp_path)
    assert problems == {"twice==2.0": folders}
    forget(problems["twice==2.0"])
    assert metadata_folders(tmp_path) == {}
