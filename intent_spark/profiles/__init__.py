"""Events to user days to profiles: declared features, windows, sequences. ``preview`` and ``explain`` for notebooks."""

from intent_spark.profiles.explain import explain, preview

__all__ = ["explain", "preview"]
