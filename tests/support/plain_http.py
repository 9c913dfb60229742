"""Clients of plain http addresses."""

import ssl

# httpx reads the bundle of authorities anew for each client, 25 ms of processor time, also where nobody asks for it.
NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
