"""Small files compacted, retention set, and files deleted that nothing within it reads."""

from intent_spark.maintenance.job import MaintainTables
from intent_spark.pipeline.cli import program

if __name__ == "__main__":
    program(MaintainTables())
