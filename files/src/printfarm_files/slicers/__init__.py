"""What each slicer writes about its G-code, and under which names."""
