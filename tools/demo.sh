#!/usr/bin/env bash
# The main job on a simulated shop: raw files, profiles, a model trained by Horovod, scores, report.
# USERS, DAYS and RANKS may be set, and options are run_pipeline's. Everything lands in ./raw, ./warehouse and ./report of
# the clone, or, where USERS or DAYS are set, in ./demo/USERSxDAYS.
set -euo pipefail

cd "$(dirname "$0")/.."
place=.
[ -z "${USERS:-}${DAYS:-}" ] || place=demo/${USERS:-20000}x${DAYS:-60}
users=${USERS:-20000}
days=${DAYS:-60}
start=2026-03-01
as_of=$(date -u -d "$start + $((days - 7)) days" +%F)

./spark-submit.sh simulate_events --users "$users" --days "$days" --start-date "$start" --seed 7 \
  --format parquet --output "$place/raw" --warehouse "$place/warehouse"
./spark-submit.sh run_pipeline --source simulated_shop --format parquet --input "$place/raw" --as-of "$as_of" \
  --ranks "${RANKS:-2}" --truth "$place/raw/truth" --report "$place/report" --warehouse "$place/warehouse" "$@"
echo "Seconds in all: $SECONDS"
echo "Report: $(realpath "$place/report/index.html")"
