"""Cgroups by systemd: the connection to a manager, and what it is told (systemd.scope(5))."""
