"""Events to user days to profiles: declared features, windows, sequences. ``preview``,
``explain`` and ``known_at`` are for notebooks."""

from intent_spark.profiles.explain import explain, known_at, preview

__all__ = ["explain", "known_at", "preview"]
