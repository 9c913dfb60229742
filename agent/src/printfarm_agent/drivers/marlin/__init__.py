"""Printers with Marlin and its relatives (Prusa, Repetier, RepRapFirmware), over a serial line."""
