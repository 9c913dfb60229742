"""Bambu Lab printers on the LAN: MQTT in TLS for looks and commands, implicit FTPS for files. No cloud."""
