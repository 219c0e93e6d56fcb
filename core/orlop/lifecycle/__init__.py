"""The operations on a container, one file each (runtime.md, Operations), and when each is allowed."""
