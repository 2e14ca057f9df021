"""A shop whose true purchase probability is known: daily raw files, and the truth apart from them."""

from intent_spark.pipeline.cli import program
from intent_spark.simulation.job import SimulateEvents

if __name__ == "__main__":
    program(SimulateEvents())
