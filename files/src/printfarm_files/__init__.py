"""Models and print files: recognised by content, read without being believed, checked, pictured.

This module and ``safety`` need the standard library alone. What reads meshes, scans whole files and draws
(``reading``, ``stl``, ``threemf``, ``toolpath``, ``bgcode``, ``pictures``) is imported by name, and wants the extra ``models``.
"""

from .errors import Refused
from .facts import READER_VERSION, Bounds, FileFacts, Kind, Thumbnail, Tool, Warned

__all__ = ["READER_VERSION", "Bounds", "FileFacts", "Kind", "Refused", "Thumbnail", "Tool", "Warned"]
