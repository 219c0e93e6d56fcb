"""Checkpoint and restore: what is asked of CRIU, and what is verified before and after (criu(8))."""
