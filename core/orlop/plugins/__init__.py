"""Finding, verifying, ordering and calling plugins."""
