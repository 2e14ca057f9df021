"""A snapshot of items into the items dimension."""

from intent_spark.dimensions.job import IngestItems
from intent_spark.pipeline.cli import program

if __name__ == "__main__":
    program(IngestItems())
