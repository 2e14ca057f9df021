"""All stages in order for one source and date; what is missing and no more."""

from intent_spark.pipeline.cli import program
from intent_spark.pipeline.job import RunPipeline

if __name__ == "__main__":
    program(RunPipeline())
