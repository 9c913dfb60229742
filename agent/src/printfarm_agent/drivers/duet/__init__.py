"""Duet boards: RepRapFirmware's own server (standalone), and DuetSoftwareFramework on a single-board computer (SBC)."""
