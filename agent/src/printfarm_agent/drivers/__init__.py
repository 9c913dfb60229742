"""Drivers, one package a protocol. Each is loaded only where it is configured."""
