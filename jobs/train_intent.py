"""A training set into a registered intent model."""

from intent_spark.pipeline.cli import program
from intent_spark.training.job import TrainIntent

if __name__ == "__main__":
    program(TrainIntent())
