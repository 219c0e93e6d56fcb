"""Examining the host: what is there, and what this caller may do, without changing anything.

Files are read, system calls are made with arguments that can have no effect, and namespaces are made for a
process that does nothing and ends.
"""
