"""``spark-submit.sh JOB …``: checks the configuration, then runs the job as the driver of Spark's own spark-submit.

The job is started first and starts Spark's launcher itself (``PYSPARK_SUBMIT_ARGS``). The other way about, Spark would
join the job's standard error to its standard output, and put the executors' wheel before the checkout.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from intent_spark.config.errors import EXIT_DONE, IntentSparkError, UsageError
from intent_spark.config.loading import PACKAGE, load_settings
from intent_spark.config.log import TERMINAL
from intent_spark.config.settings import EnvironmentSettings

USAGE = """usage: ./spark-submit.sh JOB [--env local|standalone] [--warehouse PATH] [--set KEY=VALUE]... [job options]

Every job takes --help and --dry-run. Jobs:
{jobs}"""


def main(arguments: list[str] | None = None) -> None:
    """Start a job; the exit code is the job's."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        code = _answer(words)
        if code is None:
            _launch(*words)
    except IntentSparkError as error:
        print(f"spark-submit.sh: {error}", file=sys.stderr)  # noqa: T201  # the sentence is for the person
        code = error.exit_code
    sys.exit(code)


def _answer(words: list[str]) -> int | None:
    """What needs no cluster: help, and the refusal of unknown jobs. None where a job is to be started."""
    if not words or words[0] in ("-h", "--help"):
        print(USAGE.format(jobs="\n".join(f"  {name}" for name in job_names())))  # noqa: T201
        return EXIT_DONE if words else UsageError.exit_code
    name, *rest = words
    if name not in job_names():
        raise UsageError(f"unknown job '{name}'; the jobs are {', '.join(job_names())}.")
    if "-h" in rest or "--help" in rest:
        return subprocess.run([sys.executable, str(_script(name)), *rest], check=False).returncode
    return None


def _launch(name: str, *rest: str) -> NoReturn:
    environment = load_settings(_value(rest, "--env") or "local", _values(rest, "--set")).environment
    variables = _process_environment(environment, submit_options(environment, name))
    _silence_incubator_warning()
    os.execvpe(sys.executable, [sys.executable, str(_script(name)), *rest], variables)


def _script(name: str) -> Path:
    return jobs_folder() / f"{name}.py"


def _silence_incubator_warning() -> None:
    """Put a filter between standard error and the job: the JVM prints this line before any logging is set up."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        # An interrupt is for the job; what it says of it still has to pass through here.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            os.close(writer)
            _copy_without(reader, b"WARNING: Using incubator modules: jdk.incubator.vector\n")
        finally:
            os._exit(0)
    os.dup2(writer, sys.stderr.fileno())
    os.close(reader)
    os.close(writer)


def _copy_without(reader: int, line: bytes) -> None:
    """Pass bytes on as they come, so that progress bars move, but drop one line once."""
    while chunk := os.read(reader, 65536):
        os.write(sys.stderr.fileno(), chunk.replace(line, b"", 1))


def jobs_folder() -> Path:
    """The jobs of the checkout, or the installed ones."""
    checkout = PACKAGE.parent / "jobs"
    return checkout if (checkout / "run_pipeline.py").exists() else PACKAGE / "jobs"


def job_names() -> list[str]:
    """All jobs, by their files."""
    return sorted(path.stem for path in jobs_folder().glob("*.py") if not path.stem.startswith("_"))


def submit_options(environment: EnvironmentSettings, name: str) -> list[str]:
    """What Spark's launcher must know before the JVM starts."""
    from intent_spark.lakehouse.session import (  # pyspark takes a second that --help need not wait for
        JAVA_OPTIONS,
        spark_conf,
    )

    conf = spark_conf(environment)
    logging_file = PACKAGE.parent / "conf" / "log4j2.properties"
    logging_file = logging_file if logging_file.exists() else PACKAGE / "conf" / "log4j2.properties"
    conf[JAVA_OPTIONS] = f"-Dlog4j2.configurationFile=file:{logging_file} {conf.get(JAVA_OPTIONS, '')}".strip()
    conf["spark.ui.showConsoleProgress"] = str(sys.stderr.isatty()).lower()
    options = ["--master", environment.master, "--name", f"intent_spark {name}"]
    for key, value in sorted(conf.items()):
        options += ["--conf", f"{key}={value}"]
    return [*options, "--py-files", str(_wheel())] if environment.ship_package else options


def _wheel() -> Path:
    """The package as a wheel for the executors, built anew from the checkout."""
    root = PACKAGE.parent
    if not (root / "setup.py").exists():
        raise UsageError(
            f"{root} has no setup.py to build the executors' wheel from; set environment.ship_package=false."
        )
    target = root / "build" / "wheel"
    with tempfile.TemporaryDirectory() as scratch:
        command = [
            sys.executable,
            "setup.py",
            "-q",
            "egg_info",
            "--egg-base",
            scratch,
            "build",
            "--build-base",
            scratch,
        ]
        command += ["bdist_wheel", "--dist-dir", str(target)]
        done = subprocess.run(command, cwd=root, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise UsageError(f"the wheel for the executors could not be built: {done.stderr.strip().splitlines()[-1]}")
    wheel = max(target.glob("intent_spark-*.whl"), key=lambda file: file.stat().st_mtime)
    # Python workers import from archives that Spark knows by their ending, and .whl is not among these.
    archive = target / f".{os.getpid()}.zip"
    shutil.copy(wheel, archive)
    return archive.replace(target / "intent_spark.zip")


def _process_environment(environment: EnvironmentSettings, options: list[str]) -> dict[str, str]:
    variables = dict(os.environ)
    if sys.stderr.isatty():
        variables[TERMINAL] = "1"  # processes further down write to a pipe and cannot tell
    variables["PYSPARK_SUBMIT_ARGS"] = shlex.join([*options, "pyspark-shell"])
    variables.setdefault("PYSPARK_PYTHON", environment.python or sys.executable)
    if environment.master.startswith("local"):
        variables.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    return variables


def _values(words: Sequence[str], option: str) -> list[str]:
    """The values of an option, written ``--x v`` or ``--x=v``; the job's own parser checks them later."""
    spaced = [after for word, after in zip(words, words[1:], strict=False) if word == option]
    joined = [word.removeprefix(f"{option}=") for word in words if word.startswith(f"{option}=")]
    return spaced + joined


def _value(words: Sequence[str], option: str) -> str | None:
    return next(iter(_values(words, option)), None)


if __name__ == "__main__":
    main()
