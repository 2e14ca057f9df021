"""The waiting model made live, or the way back."""

from intent_spark.pipeline.cli import program
from intent_spark.training.promotion import PromoteModel

if __name__ == "__main__":
    program(PromoteModel())
