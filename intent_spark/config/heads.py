"""What a network may foretell beside a purchase: the heads, by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Head:
    """A head beside that of purchases, as the scores' column, the examples' column and ``<name>_weight`` name it.

    A ``chance`` foretells whether its label, 0 or 1, will be 1; an ``amount`` how large its label is where it is
    above 0.
    """

    name: str
    label: str
    kind: Literal["chance", "amount"]


CHURN = Head("churn", "churned", "chance")
SPEND = Head("spend", "spent", "amount")
HEADS = (CHURN, SPEND)
