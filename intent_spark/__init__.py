"""Purchase intent for every user, from raw events to scores, on Spark, Delta and Horovod."""

__version__ = "0.1.0"
