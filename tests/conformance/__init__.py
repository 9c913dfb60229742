"""One suite for every driver: each test is a guarantee, each rig a printer that a driver is proven against."""
