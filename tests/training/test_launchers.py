"""Each way to start ranks refuses at once what it cannot start, and hands on what was configured."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError
from pyspark.sql import SparkSession

from intent_spark.config.errors import UsageError
from intent_spark.config.loading import load_settings
from intent_spark.config.training import HorovodSettings, TrainingSettings
from intent_spark.training.launchers import (
    Elastic,
    Horovodrun,
    InSpark,
    Single,
    check_slots,
    interface_of,
    launcher_of,
)


def settings(**changes: object) -> TrainingSettings:
    return TrainingSettings.model_validate({"ranks": 2, "launcher": "auto"} | changes)


def test_auto_is_one_process_or_spark(spark: SparkSession) -> None:
    assert launcher_of("auto", spark, 1, settings(), None) == Single(1)
    assert launcher_of("auto", spark, 2, settings(), "eth0") == InSpark(spark, 2, "eth0")
    assert launcher_of("spark", spark, 1, settings(), None) == InSpark(spark, 1, None)
    assert launcher_of("horovodrun", spark, 2, settings(), None) == Horovodrun(2, settings(), None)
    assert isinstance(launcher_of("elastic", spark, 2, settings(), None), Elastic)


def test_too_few_slots_are_refused_at_once(spark: SparkSession) -> None:
    with pytest.raises(UsageError, match="99 ranks need 99 free task slots at a time, but Spark has"):
        check_slots(spark, 99)
    with pytest.raises(UsageError, match="3 ranks need 3 slots, but training.hosts .a:1,b:1. has 2"):
        Horovodrun(3, settings(hosts="a:1,b:1"), None).check()
    Horovodrun(2, settings(hosts="a:1,b:1"), None).check()
    Horovodrun(5, settings(), None).check()


def test_single_runs_one_rank() -> None:
    Single(1).check()
    with pytest.raises(UsageError, match="launcher single runs 1 rank, not 2"):
        Single(2).check()


def test_elastic_bounds_and_script(tmp_path: Path) -> None:
    Elastic(2, settings(), None).check()
    Elastic(2, settings(max_ranks=4), None).check()
    with pytest.raises(UsageError, match=r"begins with 2 ranks, which is not from training.min_ranks \(3\)"):
        Elastic(2, settings(min_ranks=3, max_ranks=4), None).check()
    with pytest.raises(UsageError, match=r"to training.max_ranks \(1\)"):
        Elastic(2, settings(max_ranks=1), None).check()
    script = tmp_path / "hosts.sh"
    script.write_text("echo localhost:2\n")
    with pytest.raises(UsageError, match="is no executable file"):
        Elastic(2, settings(host_discovery_script=str(script)), None).check()
    script.chmod(0o755)
    Elastic(2, settings(host_discovery_script=str(script)), None).check()


def test_hosts_are_checked_as_they_are_read() -> None:
    with pytest.raises(ValidationError, match="hosts"):
        settings(hosts="a")
    with pytest.raises(UsageError, match="key 'training.hosts': found 'a b'"):
        load_settings("local", ["training.hosts=a b"])


def test_interface_of_the_driver() -> None:
    assert interface_of("127.0.0.1") == "lo"
    with pytest.raises(UsageError, match=r"no network interface has the driver's address 203\.0\.113\.1"):
        interface_of("203.0.113.1")


def test_horovods_variables() -> None:
    assert HorovodSettings().environment() == {}
    told = HorovodSettings(
        fusion_threshold_mb=3, cycle_time_ms=2.5, autotune=True, autotune_log="a.csv", timeline="t.json"
    ).environment()
    assert told == {
        "HOROVOD_FUSION_THRESHOLD": str(3 * 2**20),
        "HOROVOD_CYCLE_TIME": "2.5",
        "HOROVOD_AUTOTUNE": "1",
        "HOROVOD_AUTOTUNE_LOG": "a.csv",
        "HOROVOD_TIMELINE": "t.json",
    }


HALVES = """
import os
import tensorflow as tf
from intent_spark.config.training import HorovodSettings
from intent_spark.training.collective import HorovodRanks
ranks = HorovodRanks(HorovodSettings(fp16={fp16}, autotune=True, autotune_log={log!r}, fusion_threshold_mb=2))
assert os.environ["HOROVOD_FUSION_THRESHOLD"] == str(2 << 20)
exact = 1 + 2.0**-12
[summed] = ranks.sum_gradients([tf.constant([exact])])
print(float(summed[0]), float(ranks.sum_tensor(tf.constant(exact))))
"""


@pytest.mark.slow
@pytest.mark.parametrize("fp16", [False, True])
def test_gradients_may_travel_in_half_precision_and_settings_reach_horovod(fp16: bool, tmp_path: Path) -> None:
    log = tmp_path / "autotune.csv"
    code = HALVES.format(fp16=fp16, log=str(log))
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    gradient, tensor = (float(word) for word in done.stdout.split())
    assert gradient == (1.0 if fp16 else 1 + 2.0**-12)
    assert tensor == 1 + 2.0**-12
    assert log.exists()
