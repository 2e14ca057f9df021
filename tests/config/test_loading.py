from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from intent_spark.config.errors import UsageError
from intent_spark.config.loading import conf_dir, load_settings, load_source, read_yaml

SHIPPED = Path(__file__).parents[2] / "conf"
SECTIONS = {"features.yaml": "features", "model.yaml": "model", "simulation.yaml": "simulation"}


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """A copy of the shipped configuration to spoil."""
    return Path(shutil.copytree(SHIPPED, tmp_path / "conf"))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, f"{path.name} changed; the test wants {old!r}"
    path.write_text(text.replace(old, new, 1))


def refusal(conf: Path, *overrides: str, environment: str = "local") -> str:
    with pytest.raises(UsageError) as caught:
        load_settings(environment, overrides, conf)
    sentence = str(caught.value)
    assert caught.value.exit_code == 2
    assert "\n" not in sentence and sentence.endswith(".")
    return sentence


@pytest.mark.parametrize("environment", sorted(path.stem for path in (SHIPPED / "env").glob("*.yaml")))
def test_shipped_environments_are_valid(environment: str) -> None:
    settings = load_settings(environment)
    assert settings.environment.master
    assert settings.events.lookback_days >= 1


@pytest.mark.parametrize("source", sorted(path.stem for path in (SHIPPED / "sources").glob("*.yaml")))
def test_shipped_sources_are_valid(source: str) -> None:
    mapping = load_source(source)
    assert mapping.shop.horizon_days >= 1
    assert load_source(source, "parquet").format == "parquet"


def test_configuration_folder_can_be_named(conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert conf_dir() == SHIPPED
    monkeypatch.setenv("INTENT_SPARK_CONF", str(conf))
    edit(conf / "base.yaml", "lookback_days: 7", "lookback_days: 11")
    assert load_settings().events.lookback_days == 11


def test_overrides_are_typed_and_the_last_wins() -> None:
    overrides = ["events.lookback_days=3", "warehouse=/tmp/x y", "events.lookback_days=4", "examples.step_days=null"]
    settings = load_settings(overrides=overrides)
    assert settings.events.lookback_days == 4
    assert settings.warehouse == "/tmp/x y"
    assert settings.examples.step_days is None


def test_unknown_key_names_file_key_and_allowed(conf: Path) -> None:
    edit(conf / "base.yaml", "lookback_days", "lookback_day")
    assert refusal(conf) == (
        f"{conf}/base.yaml: unknown key 'events.lookback_day'; "
        "allowed here: future_tolerance_hours, horizon_days, lookback_days, max_bad_share, rows_per_file."
    )


def nodes(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of all mappings in a YAML tree."""
    if isinstance(tree, dict):
        yield path
        for key, value in tree.items():
            yield from nodes(value, (*path, key))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from nodes(value, (*path, index))


@pytest.mark.parametrize("file", ["base.yaml", "env/local.yaml", *SECTIONS])
def test_an_unknown_key_at_any_depth_is_named(conf: Path, file: str) -> None:
    tree = read_yaml(conf / file)
    places = list(nodes(tree))
    for place in places[:: max(1, len(places) // 25)]:
        spoiled = copy.deepcopy(tree)
        node = spoiled
        for part in place:
            node = node[part]
        node["surprise"] = {"deep": 1}
        (conf / file).write_text(yaml.safe_dump(spoiled))
        sentence = refusal(conf)
        assert sentence.startswith(f"{conf / file}: "), sentence
        assert "surprise" in sentence, sentence


@pytest.mark.parametrize(
    ("file", "old", "new", "key", "found"),
    [
        ("base.yaml", "lookback_days: 7", "lookback_days: soon", "events.lookback_days", "'soon'"),
        ("base.yaml", "lookback_days: 7", "lookback_days: 0", "events.lookback_days", "'0'"),
        ("base.yaml", "lookback_days: 7", "lookback_days: 1.5", "events.lookback_days", "'1.5'"),
        ("base.yaml", "launcher: auto", "launcher: mpi", "training.launcher", "'mpi'"),
        ("base.yaml", "auc_drop: 0.03", "auc_drop: 3", "evaluation.auc_drop", "'3'"),
        ("base.yaml", "[purchase]", "[]", "examples.label_event_types", "'[]'"),
        ("env/local.yaml", "driver_memory: 3g", "driver_memory: much", "environment.driver_memory", "'much'"),
        ("env/local.yaml", '"8"', "8", "environment.conf.spark.sql.shuffle.partitions", "'8'"),
    ],
)
def test_a_bad_value_names_file_key_found_and_rule(
    conf: Path, file: str, old: str, new: str, key: str, found: str
) -> None:
    edit(conf / file, old, new)
    sentence = refusal(conf)
    assert sentence.startswith(f"{conf / file}: key '{key}': found {found}, but it ")
    assert "should" in sentence


def test_allowed_values_are_named(conf: Path) -> None:
    edit(conf / "base.yaml", "launcher: auto", "launcher: mpi")
    assert refusal(conf).endswith("should be 'auto', 'single', 'spark', 'horovodrun' or 'elastic'.")


def test_missing_key(conf: Path) -> None:
    edit(conf / "base.yaml", "warehouse: warehouse", "# warehouse: warehouse")
    assert refusal(conf) == f"{conf}/base.yaml: key 'warehouse' is missing; add it."


def test_missing_malformed_and_wrongly_shaped_files(conf: Path) -> None:
    model = conf / "model.yaml"
    text = model.read_text()
    model.write_text("a: [1,\nb: }")
    assert refusal(conf) == f"{model}: is not valid YAML at line 2; mend it."
    model.write_text("- one\n- two\n")
    assert refusal(conf) == f"{model}: holds list where keys and values are expected; mend it."
    model.write_bytes(b"\xff\xfe\x00")
    assert refusal(conf).startswith(f"{model}: is not valid YAML")
    model.unlink()
    assert refusal(conf).startswith(f"{model}: cannot be read (No such file or directory)")
    model.write_text(text)
    assert load_settings(conf=conf)


def test_unknown_environment_and_source_list_what_there_is(conf: Path) -> None:
    sentence = refusal(conf, environment="moon")
    assert sentence == f"unknown environment 'moon': {conf}/env has local, standalone."
    with pytest.raises(UsageError) as caught:
        load_source("ebay", conf=conf)
    assert str(caught.value).startswith(f"unknown source 'ebay': {conf}/sources has cdnow, online_retail, ")
    with pytest.raises(UsageError, match="unknown source"):
        load_source("../env/local", conf=conf)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("events.lookback_days", "--set events.lookback_days: expected key=value"),
        ("=3", "--set =3: expected key=value"),
        ("event.lookback_days=3", "there is no section 'event'; known are environment, evaluation, events"),
        ("events.lookback_days.x=3", "there is no section 'lookback_days'; known are none"),
        ("events.lookback_days=-3", "--set: key 'events.lookback_days': found '-3', but it should be greater than 0"),
        ("events.look_back=3", "--set: unknown key 'events.look_back'; allowed here: future_tolerance_hours, horizon"),
        ("events.lookback_days={3", "--set events.lookback_days={3: the value is not valid YAML"),
        ("events.lookback_days=", "--set: key 'events.lookback_days': found 'None', but it should be"),
        ("events=3", "--set: key 'events': found '3', but it should be"),
    ],
)
def test_bad_overrides(override: str, says: str) -> None:
    assert says in refusal(SHIPPED, override)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            "time_zone: Asia/Shanghai",
            "time_zone: Mars/Olympus",
            "key 'shop.time_zone': found 'Mars/Olympus', but it is no",
        ),
        ("currency: CNY", "currency: yuan", "key 'shop.currency': found 'yuan'"),
        (
            "fav: favourite",
            "fav: like",
            "but it maps to like; allowed are view, search, cart, favourite, purchase, return",
        ),
        ("format: csv", "format: xml", "should be 'csv', 'jsonl', 'parquet' or 'avro'"),
        ("id_columns", "id_column", "unknown key 'id_column'"),
        ("user_id: user_id", "user: user_id", "fields.user"),
        ("format: csv", "format: csv\nid: x", "unknown key 'id'; allowed here: daily_path, dates, description"),
        ("first: 2017-11-25", "first: yesterday", "key 'dates.first': found 'yesterday'"),
        ("text:\n", "text:\n  delimiter: '||'\n", "key 'text.delimiter': found '||'"),
        ("  columns: [", "  names: [", "text.names"),
    ],
)
def test_bad_source_mappings(conf: Path, old: str, new: str, says: str) -> None:
    file = conf / "sources" / "taobao_userbehavior.yaml"
    edit(file, old, new)
    with pytest.raises(UsageError) as caught:
        load_source("taobao_userbehavior", conf=conf)
    assert says in str(caught.value)
    assert str(caught.value).startswith(f"{file}: ")


def test_a_mapping_without_ids_or_names_is_refused(conf: Path) -> None:
    file = conf / "sources" / "taobao_userbehavior.yaml"
    tree = yaml.safe_load(file.read_text())
    for key, says in (
        ("id_columns", "id_columns to hash one from"),
        ("text", "a csv without header needs text.columns"),
    ):
        file.write_text(yaml.safe_dump({name: value for name, value in tree.items() if name != key}))
        with pytest.raises(UsageError, match=says):
            load_source("taobao_userbehavior", conf=conf)
    file.write_text(yaml.safe_dump(tree))
    jsonl = {name: value for name, value in tree.items() if name != "text"} | {"format": "jsonl"}
    file.write_text(yaml.safe_dump(jsonl))
    with pytest.raises(UsageError, match="jsonl needs text.columns"):
        load_source("taobao_userbehavior", conf=conf)


def test_settings_do_not_change_after_loading() -> None:
    settings = load_settings()
    with pytest.raises(Exception, match="frozen"):
        settings.events.lookback_days = 3  # type: ignore[misc]
