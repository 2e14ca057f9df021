"""The upkeep of all tables: few and large files, retention on purpose, and no file deleted that is still read."""
