"""A printer without a machine: runs real G-code in real or scaled time, keeps its own log, and fails on request.

A program of its own, as a printer is: it goes on when the agent dies, and its log is the only ground truth of a test.
"""
