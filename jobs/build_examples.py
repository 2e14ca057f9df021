"""Profiles at several dates and what happened after them into a training set."""

from intent_spark.examples.job import BuildExamples
from intent_spark.pipeline.cli import program

if __name__ == "__main__":
    program(BuildExamples())
