"""Raw sources to clean events: mapping, quarantine, de-duplication, late days."""
