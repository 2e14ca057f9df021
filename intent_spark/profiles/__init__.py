"""Events to user days to profiles: declared features, windows, sequences."""
