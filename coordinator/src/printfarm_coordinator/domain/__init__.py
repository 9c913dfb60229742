"""The rules as values and functions: no I/O, no clock; ids and times are arguments."""
