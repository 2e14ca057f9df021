"""The shop of a warehouse: recorded with the first ingestion, read by every later job."""

from __future__ import annotations

from intent_spark.config.errors import ContractError
from intent_spark.config.shop import ShopSettings
from intent_spark.events.contract import EVENTS
from intent_spark.lakehouse.lakehouse import Lakehouse
from intent_spark.lakehouse.shop import SHOP_PREFIX, recorded_shop


def ensure_shop(lakehouse: Lakehouse, shop: ShopSettings, source: str) -> None:
    """Create the events table with its shop recorded, or check that the source is of the same shop.

    Raises:
        ContractError: the warehouse belongs to a shop of another zone or currency.
    """
    check_shop(lakehouse, shop, source)
    lakehouse.create(EVENTS, {f"{SHOP_PREFIX}{key}": str(value) for key, value in shop.model_dump().items()})


def check_shop(lakehouse: Lakehouse, shop: ShopSettings, source: str) -> None:
    """Check that a source is of the shop whose warehouse this is; a new warehouse may become anybody's.

    Raises:
        ContractError: the warehouse belongs to a shop of another zone or currency.
    """
    if not lakehouse.exists(EVENTS.name):
        return
    there = recorded_shop(lakehouse)
    if (there.time_zone, there.currency) != (shop.time_zone, shop.currency):
        raise ContractError(
            f"source {source} is of a shop in {shop.time_zone} with {shop.currency}, but warehouse {lakehouse.root} "
            f"holds one in {there.time_zone} with {there.currency}; use another --warehouse."
        )
