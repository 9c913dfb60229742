"""OctoPrint, by its REST API."""
