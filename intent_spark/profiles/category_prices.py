"""How dear an item is for its category: the prices of each category day by day.

Logarithms are counted in whole thousandths: their sums are exact in any order, and so is what is made of them.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

THOUSANDTHS = 1000


def category_prices(items: DataFrame) -> DataFrame:
    """Mean and population deviation of a category's logarithms of list prices, in thousandths, over ranges of days.

    Args:
        items: rows of the items contract, valid from–to.

    Returns:
        ``priced_category``, ``priced_from``, ``priced_to`` (null: still), ``mean_log``, ``log_deviation``; a row for
        each range of days in which a category's items and prices are the same. Items without price do not count.
    """
    log = _log(F.col("price"))
    priced = items.where(F.col("category").isNotNull() & (F.col("price") > 0)).withColumn("log", log)
    comes, goes = _change(priced, "valid_from", 1), _change(priced.where(F.col("valid_to").isNotNull()), "valid_to", -1)
    summed = [F.sum(name).alias(name) for name in ("number", "sum", "squares")]
    changes = comes.unionByName(goes).groupBy("category", "day").agg(*summed)
    in_order = Window.partitionBy("category").orderBy("day")
    number, total, squares = (F.sum(name).over(in_order) for name in ("number", "sum", "squares"))
    held = changes.select(
        F.col("category").alias("priced_category"), F.col("day").alias("priced_from"),
        F.lead("day").over(in_order).alias("priced_to"),
        number.alias("number"), total.alias("total"), squares.alias("squares"),
    )  # fmt: skip
    mean = F.col("total") / F.col("number")
    variance = F.greatest(F.col("squares") / F.col("number") - mean * mean, F.lit(0.0))
    some = held.where(F.col("number") > 0)
    return some.select(
        "priced_category", "priced_from", "priced_to", mean.alias("mean_log"), F.sqrt(variance).alias("log_deviation")
    )


def price_level(price: Column, mean_log: Column, log_deviation: Column) -> Column:
    """How many thousandths of a deviation the logarithm of a price is above its category's mean: the standard score.

    0 where all prices of the category are the same; null without price or category.
    """
    score = F.round(THOUSANDTHS * (_log(price) - mean_log) / log_deviation).cast("int")
    return F.when((price > 0) & mean_log.isNotNull(), F.when(log_deviation == 0, 0).otherwise(score))


def _log(price: Column) -> Column:
    return F.round(THOUSANDTHS * F.log(price)).cast("bigint")


def _change(priced: DataFrame, day: str, sign: int) -> DataFrame:
    """What the category's sums gain on the day."""
    log = F.col("log")
    gains = [F.lit(sign).alias("number"), (sign * log).alias("sum"), (sign * log * log).alias("squares")]
    return priced.select("category", F.col(day).alias("day"), *gains)
