"""CuraEngine behind the port: its definitions, their formulas, and what it leaves to others."""

from .program import CuraEngine

__all__ = ["CuraEngine"]
