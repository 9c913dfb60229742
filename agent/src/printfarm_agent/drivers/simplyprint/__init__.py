"""Printers that SimplyPrint manages, through its cloud: the one driver that goes outside, and only where it is configured."""
