"""Holds one serial port, streams its prints, watches its heaters, and outlives the agent that started it.

Apart from the agent on purpose: an agent may be restarted, upgraded or killed while a printer prints, and the process that
feeds the printer must not fall silent with it. It speaks to nobody but its own printer and, over a socket that only its own
user may open, to the driver in the agent.
"""
