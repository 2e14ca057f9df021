#!/usr/bin/env bash
# The one launcher: ./spark-submit.sh JOB [--env local|standalone] [--warehouse PATH] [job options]
# Runs the job with INTENT_SPARK_PYTHON, or the clone's own Python, or a python3 that has the packages, and with a
# Java that Spark runs on.
set -eu

root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)

has_packages() {
  "$1" -c 'import sys; from importlib.util import find_spec as has
sys.exit(not (has("pyspark") and has("pydantic") and has("yaml")))' 2>/dev/null
}

if [ -n "${INTENT_SPARK_PYTHON:-}" ]; then
  python=$INTENT_SPARK_PYTHON
elif [ -f "$root/.venv/.complete" ]; then
  python=$root/.venv/bin/python
else
  python=python3
fi

# Only a set-up that was completed is believed; any other Python is asked.
if [ "$python" != "$root/.venv/bin/python" ] && ! has_packages "$python"; then
  echo "The set-up was not run or not completed: run 'make setup' in $root first." >&2
  exit 2
fi

# Help and the list of jobs need no Java.
needs_java() {
  local argument
  [ $# -gt 0 ] || return 1
  for argument in "$@"; do
    case "$argument" in -h | --help) return 1 ;; esac
  done
}

if needs_java "$@"; then
  JAVA_HOME=$("$root/tools/find_java.sh") || exit $?
  export JAVA_HOME
fi

export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
export TF_CPP_MIN_LOG_LEVEL="${TF_CPP_MIN_LOG_LEVEL:-3}"
exec "$python" -m intent_spark.pipeline.launcher "$@"
