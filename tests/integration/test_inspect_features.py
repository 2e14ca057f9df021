"""The notebook as stored, and run from a clean state on a small shop's warehouse."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.integration.conftest import AS_OF, Run

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "notebooks" / "inspect_features.ipynb"
pytestmark = pytest.mark.xdist_group("integration")
# Runs after the notebook's own cells, before the session is closed.
SHOW = """
import json
summary = {
    "as_of": str(as_of),
    "events": events["event_type"].value_counts().to_dict(),
    "spent": int((events["price"] * events["quantity"])[events["event_type"] == "purchase"].sum()),
    "newest": float(events["day"].max()),
    "profile": {name: user[name] for name in columns if name.endswith("_lifetime") or name == "days_since_event"},
    "table": values.to_dict("index"),
    "users": [int(frame["users"].sum()) for frame in (segments, recency)],
}
print(json.dumps(summary))
"""


def notebook() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)


def test_stored_without_outputs() -> None:
    stored = notebook()
    nbformat.validate(stored)
    code = [cell for cell in stored.cells if cell.cell_type == "code"]
    assert code
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
    assert all(set(cell.metadata) <= {"tags"} for cell in stored.cells)


def test_every_code_cell_is_introduced() -> None:
    kinds = [cell.cell_type for cell in notebook().cells]
    assert kinds[0] == "markdown"
    lonely = [n for n, kind in enumerate(kinds) if kind == "code" and kinds[n - 1] == "code"]
    assert lonely == [len(kinds) - 1], "only the cell that closes the session needs no reason"


@pytest.fixture(scope="module")
def executed(undisturbed: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The notebook after a run in a fresh kernel of this Python, in a folder that is not the clone."""
    copy = notebook()
    copy.cells.insert(-1, nbformat.v4.new_code_cell(SHOW))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INTENT_SPARK_WAREHOUSE", undisturbed.lakehouse.root)
        patch.setenv("PYTHONPATH", str(ROOT))
        folder = {"metadata": {"path": str(tmp_path_factory.mktemp("kernel"))}}
        NotebookClient(copy, timeout=600, kernel_name="python3", resources=folder).execute()
    yield copy


def outputs(executed: Any, kind: str) -> list[Any]:
    found = [output for cell in executed.cells if cell.cell_type == "code" for output in cell.outputs]
    return [output for output in found if kind in (output.output_type, *output.get("data", {}))]


@pytest.fixture(scope="module")
def shown(executed: Any) -> dict[str, Any]:
    [output] = executed.cells[-2].outputs
    result: dict[str, Any] = json.loads(output.text)
    return result


@pytest.mark.slow
def test_runs_from_a_clean_state(executed: Any) -> None:
    assert outputs(executed, "error") == []
    images = outputs(executed, "image/png")
    assert len(images) == 6
    assert all(len(image["data"]["image/png"]) > 10_000 for image in images)
    assert any("agree with the" in output["data"]["text/markdown"] for output in outputs(executed, "text/markdown"))


@pytest.mark.slow
def test_timeline_and_features_agree(shown: dict[str, Any]) -> None:
    profile, events, table = shown["profile"], shown["events"], shown["table"]
    assert shown["as_of"] == AS_OF
    assert events["purchase"] >= 1
    for kind in ("view", "search", "cart", "favourite", "purchase", "return"):
        assert (profile[f"{kind}_count_lifetime"] or 0) == events.get(kind, 0)
        assert table[f"{kind}_count"]["lifetime"] == f"{events.get(kind, 0):,}"
    assert profile["event_count_lifetime"] == sum(events.values())
    assert profile["spend_sum_lifetime"] == shown["spent"]
    assert profile["days_since_event"] == pytest.approx(-shown["newest"], abs=1e-6)
    assert table["purchase_count"]["unit"] == "purchases"
    assert table["purchase_count"]["description"] == "Purchases in the window"


@pytest.mark.slow
def test_groups_hold_every_scored_user(shown: dict[str, Any]) -> None:
    segments, recency = shown["users"]
    assert segments == recency
    assert 300 < segments <= 500
