"""Klipper, by Moonraker's HTTP API."""
