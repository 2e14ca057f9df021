"""A model and profiles to scores, in a pandas UDF."""
