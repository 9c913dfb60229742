"""The coordinator: owns the queue and decides which printer prints what."""
