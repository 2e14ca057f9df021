"""Name the pinned packages that this environment lacks, has in another version, or has only in part.

pip writes a package's RECORD last, so an installation that was cut short has no RECORD, or one that lists a
file that is not there in its full size; pip itself would believe it. With ``--forget`` such packages lose
their metadata, so that the next ``pip install`` lays them anew.

Usage: check_packages.py [--forget] NAME==VERSION...
"""

from __future__ import annotations

import csv
import re
import shutil
import sys
import sysconfig
from pathlib import Path


def normalized(name: str) -> str:
    """Return a package's name as the registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def metadata_folders(site_packages: Path) -> dict[str, list[Path]]:
    """Return each package's metadata folders; more than one is the trace of an upgrade cut short."""
    found: dict[str, list[Path]] = {}
    for folder in sorted(site_packages.glob("*.dist-info")):
        found.setdefault(normalized(folder.name.split("-")[0]), []).append(folder)
    return found


def is_whole(folder: Path) -> bool:
    """Say whether every file that the package's RECORD lists is there in its recorded size."""
    record = folder / "RECORD"
    if not record.is_file():
        return False
    with record.open(newline="", encoding="utf-8") as lines:
        return all(_is_there(folder.parent / path, size) for path, _, size in csv.reader(lines))


def _is_there(file: Path, size: str) -> bool:
    if not size or file.suffix == ".pyc":  # compiled anew on installation, whatever the wheel brought
        return True
    try:
        return file.stat().st_size == int(size)
    except OSError:
        return False


def unsound(pins: list[str], site_packages: Path) -> dict[str, list[Path]]:
    """Return the pins that are not installed whole in their version, with the metadata folders they have."""
    folders = metadata_folders(site_packages)
    problems: dict[str, list[Path]] = {}
    for pin in pins:
        name, _, version = pin.partition("==")
        found = folders.get(normalized(name), [])
        in_version = len(found) == 1 and (not version or found[0].name.endswith(f"-{version}.dist-info"))
        if not (in_version and is_whole(found[0])):
            problems[pin] = found
    return problems


def forget(folders: list[Path]) -> None:
    """Remove metadata folders, so that pip takes their package for not installed."""
    for folder in folders:
        shutil.rmtree(folder)


def main(arguments: list[str]) -> int:
    """Print what is unsound, one pin a line; exit 1 if anything is."""
    site_packages = Path(sysconfig.get_path("purelib"))
    pins = [argument for argument in arguments if argument != "--forget"]
    problems = unsound(pins, site_packages)
    if "--forget" in arguments:
        for folders in problems.values():
            forget(folders)
        forget([path for path in site_packages.glob("~*") if path.is_dir()])
    sys.stdout.writelines(f"{pin}\n" for pin in problems)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
