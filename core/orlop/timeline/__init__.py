"""Timelines of single commands, in the Chrome trace format."""
