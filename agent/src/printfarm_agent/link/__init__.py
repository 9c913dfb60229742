"""The way to the coordinator."""
