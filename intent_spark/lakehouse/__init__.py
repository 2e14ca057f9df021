"""Spark's session, table contracts, day replacement and the ledger of runs."""
