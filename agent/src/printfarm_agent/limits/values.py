"""The limits of one printer, as the safety check of print files knows them."""

from printfarm_files.safety import MARGIN_MM, Limits

__all__ = ["MARGIN_MM", "Limits"]
