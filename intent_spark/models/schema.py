"""The feature schema: all that turns a row of ``examples`` or ``profiles`` into the model's inputs.

It is fitted on the training split, saved with the model and read by scoring, so both encode alike.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

SequenceKind = Literal["vocabulary", "hash", "number"]


@dataclass(frozen=True)
class NumericFeature:
    """A number, encoded as ``(sign(x) log1p|x| - mean) / std``; null becomes 0, a constant is always 0.

    ``nullable`` adds an input that is 1 where the value is null.
    """

    name: str
    mean: float
    std: float
    nullable: bool = False

    def inputs(self) -> list[str]:
        """Names of the numeric inputs it becomes."""
        return [self.name, f"{self.name} is null"] if self.nullable else [self.name]


@dataclass(frozen=True)
class CategoricalFeature:
    """A category, one-hot by its place in the vocabulary; null and unknown values share the first input."""

    name: str
    vocabulary: tuple[str, ...]

    def inputs(self) -> list[str]:
        """Names of the numeric inputs it becomes."""
        return [f"{self.name} = (other)", *(f"{self.name} = {value}" for value in self.vocabulary)]


@dataclass(frozen=True)
class SequenceFeature:
    """One column of the event sequence.

    ``vocabulary``: code 1 + place, 0 for null and unknown. ``hash``: code 1 + hash mod (buckets - 1), 0 for
    null. ``number``: signed log1p, then standardised, null becomes 0.
    """

    name: str
    kind: SequenceKind
    vocabulary: tuple[str, ...] = ()
    buckets: int = 0
    mean: float = 0.0
    std: float = 1.0

    @property
    def codes(self) -> int:
        """How many different codes there are, 0 included (none for numbers)."""
        return {"vocabulary": len(self.vocabulary) + 1, "hash": self.buckets, "number": 0}[self.kind]


@dataclass(frozen=True)
class FeatureSchema:
    """The columns the model reads, in the order of its inputs."""

    numeric: tuple[NumericFeature, ...]
    categorical: tuple[CategoricalFeature, ...]
    sequences: tuple[SequenceFeature, ...]
    max_length: int

    @property
    def profile(self) -> tuple[NumericFeature | CategoricalFeature, ...]:
        """The features that become the ``numeric`` matrix, in its order."""
        return (*self.numeric, *self.categorical)

    @property
    def columns(self) -> list[str]:
        """Columns a table must have to be encoded."""
        return [feature.name for feature in self.profile] + [feature.name for feature in self.sequences]

    @property
    def inputs(self) -> list[str]:
        """Names of the columns of the encoded ``numeric`` matrix."""
        return [name for feature in self.profile for name in feature.inputs()]

    def to_json(self) -> str:
        """JSON text, equal for equal schemas."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> FeatureSchema:
        """The schema that :meth:`to_json` wrote."""
        tree: dict[str, Any] = json.loads(text)
        return cls(
            numeric=tuple(NumericFeature(**item) for item in tree["numeric"]),
            categorical=tuple(CategoricalFeature(**_with_tuple(item)) for item in tree["categorical"]),
            sequences=tuple(SequenceFeature(**_with_tuple(item)) for item in tree["sequences"]),
            max_length=tree["max_length"],
        )


def _with_tuple(item: dict[str, Any]) -> dict[str, Any]:
    return item | {"vocabulary": tuple(item["vocabulary"])}
