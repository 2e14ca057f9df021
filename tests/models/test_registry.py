"""Aliases: who is live, who waits, and the way back."""

from __future__ import annotations

from argparse import Namespace
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from intent_spark.config.errors import ContractError, UsageError
from intent_spark.models.directory import save_model, verify_model
from intent_spark.models.registry import (
    Aliases,
    LiveModelError,
    challenger,
    champion,
    model_versions,
    nominate,
    promote,
    read_aliases,
    roll_back,
)
from intent_spark.training.promotion import PromoteModel
from tests.models.test_directory import model


@pytest.fixture
def three(tmp_path: Path) -> list[str]:
    """Three registered models; a folder of a training that is under way is none."""
    (tmp_path / ".training-1").mkdir()
    return [save_model(model(manifest={"ranks": ranks}), tmp_path).name for ranks in (1, 2, 3)]


def test_a_challenger_waits_and_then_is_the_champion(tmp_path: Path, three: list[str]) -> None:
    first, second, _ = three
    promote(tmp_path, first)
    assert challenger(tmp_path) is None
    assert nominate(tmp_path, second) == challenger(tmp_path) == tmp_path / second
    assert champion(tmp_path).name == first
    promote(tmp_path, second)
    assert read_aliases(tmp_path) == Aliases(second, None, [first])
    assert model_versions(tmp_path) == sorted(three)


def test_another_challenger_goes_on_waiting(tmp_path: Path, three: list[str]) -> None:
    first, second, third = three
    promote(tmp_path, first)
    nominate(tmp_path, second)
    promote(tmp_path, third)
    assert read_aliases(tmp_path) == Aliases(third, second, [first])


def test_promoting_the_live_model_changes_nothing(tmp_path: Path, three: list[str]) -> None:
    promote(tmp_path, three[0])
    promote(tmp_path, three[0])
    assert read_aliases(tmp_path) == Aliases(three[0])


def test_rolling_back_goes_one_step_each_time(tmp_path: Path, three: list[str]) -> None:
    for version in three:
        promote(tmp_path, version)
    assert roll_back(tmp_path).name == three[1]
    assert read_aliases(tmp_path) == Aliases(three[1], three[2], [three[0]])
    assert roll_back(tmp_path).name == three[0]
    with pytest.raises(UsageError, match="has no former live model to go back to"):
        roll_back(tmp_path)
    assert champion(tmp_path).name == three[0]


def test_an_altered_model_neither_waits_nor_comes_back(tmp_path: Path, three: list[str]) -> None:
    promote(tmp_path, three[0])
    promote(tmp_path, three[1])
    before = read_aliases(tmp_path)
    for version in (three[0], three[2]):
        (tmp_path / version / "schema.json").write_text("{}")
    with pytest.raises(ContractError, match="was altered after training"):
        nominate(tmp_path, three[2])
    with pytest.raises(ContractError, match="was altered after training"):
        roll_back(tmp_path)
    with pytest.raises(UsageError, match="has no model nonsense"):
        nominate(tmp_path, "nonsense")
    assert read_aliases(tmp_path) == before


def damage(model_dir: Path) -> None:
    (model_dir / "schema.json").write_text("{}")


def test_the_way_back_passes_over_damaged_models(tmp_path: Path, three: list[str]) -> None:
    """Neither the model that was live nor the one before it can be read: the one before that is live again."""
    for version in three:
        promote(tmp_path, version)
    waits = save_model(model(manifest={"ranks": 4}), tmp_path).name
    nominate(tmp_path, waits)
    damage(tmp_path / three[1])
    damage(tmp_path / three[2])
    place = SimpleNamespace(lakehouse=SimpleNamespace(path=lambda _: str(tmp_path)))
    told = PromoteModel().plan(cast(Any, place), Namespace(rollback=True, model=None, force=False))
    assert [item.what for item in told.items] == [f"back to model {three[0]}"], "a dry run tells what a run would do"
    assert roll_back(tmp_path).name == three[0]
    assert read_aliases(tmp_path) == Aliases(three[0], waits)


def test_who_went_live_meanwhile_is_not_pushed_aside(tmp_path: Path, three: list[str]) -> None:
    first, second, third = three
    with pytest.raises(LiveModelError, match=f"judged beside {second}, but none is live"):
        promote(tmp_path, first, over=second)
    promote(tmp_path, first, over=None)
    promote(tmp_path, second, over=first)
    promote(tmp_path, second, over=first)
    with pytest.raises(LiveModelError, match=f"{third} was judged beside {first}, but {second} is live by now"):
        promote(tmp_path, third, over=first)
    assert read_aliases(tmp_path) == Aliases(second, None, [first])


def test_changes_at_once_are_all_kept(tmp_path: Path, three: list[str]) -> None:
    promote(tmp_path, three[0])
    with ThreadPoolExecutor(8) as pool:
        changes = [pool.submit(promote, tmp_path, three[n % 2 + 1]) for n in range(20)]
        changes += [pool.submit(nominate, tmp_path, three[0]) for _ in range(20)]
    assert all(change.exception() is None for change in changes)
    told = read_aliases(tmp_path)
    assert told.champion in three[1:]
    # Each promotion of another model keeps the one before it.
    assert all(one != other for one, other in pairwise([*told.former, told.champion]))


def test_a_damaged_model_that_is_trained_again_is_whole_again(tmp_path: Path, three: list[str]) -> None:
    damage(tmp_path / three[0])
    assert save_model(model(manifest={"ranks": 1}), tmp_path).name == three[0]
    assert verify_model(tmp_path / three[0]) == three[0]
    assert model_versions(tmp_path) == sorted(three)
