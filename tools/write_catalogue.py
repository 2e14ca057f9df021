"""Write docs/features.md from conf/features.yaml."""

from __future__ import annotations

import sys
from pathlib import Path

from intent_spark.config.loading import load_settings
from intent_spark.profiles.catalogue import catalogue

if __name__ == "__main__":
    Path(sys.argv[1]).write_text(catalogue(load_settings().features), encoding="utf-8")
