"""Compose a runtime into one file: only the chosen plugins inside, pinned, and settled as far as can be."""
