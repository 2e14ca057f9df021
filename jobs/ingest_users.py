"""A snapshot of users into the users dimension."""

from intent_spark.dimensions.job import IngestUsers
from intent_spark.pipeline.cli import program

if __name__ == "__main__":
    program(IngestUsers())
