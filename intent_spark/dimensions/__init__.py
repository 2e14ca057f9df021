"""Users and items, each version valid from one day to another."""
