"""Slicer programs, each behind the port of ``engine``."""
