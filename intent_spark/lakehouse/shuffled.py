"""Rows that several jobs read, made once and shuffled once."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame


def shuffled_once(frame: DataFrame, *keys: Column) -> DataFrame:
    """The frame's rows, spread by ``keys``; what the shuffle wrote to the executors' disks serves all later jobs.

    A cache after the shuffle would write every row a second time and hold it in memory. Here the rows lie where a
    shuffle puts them anyway; those of an executor that is lost are made again, and all go once nobody refers to them.

    Spark keeps the files of a shuffle for the RDD that it belongs to, but plans a frame anew for each job. So the frame
    that is given back stands on the RDD: there is no public call for it, ``localCheckpoint`` does the same and then
    caches.
    """
    spread = frame.repartition(*keys)._jdf
    session = frame.sparkSession
    rows = spread.queryExecution().toRdd()
    return DataFrame(session._jsparkSession.internalCreateDataFrame(rows, spread.schema(), False), session)
