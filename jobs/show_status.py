"""What each table holds, the last runs, and the live model."""

from intent_spark.pipeline.cli import program
from intent_spark.pipeline.status import ShowStatus

if __name__ == "__main__":
    program(ShowStatus())
