"""Parts of tests: private servers, credentials, printers, the farm's own programs as processes."""
