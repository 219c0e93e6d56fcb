"""Cgroups by file system: hierarchies, creation, resources, device rules and statistics (cgroups(7))."""
