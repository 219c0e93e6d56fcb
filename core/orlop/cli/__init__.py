"""The command line ``orlop``: a drop-in OCI runtime, with a few commands of its own.

:mod:`.table` says which commands and flags there are; the parser, the help, the reference page and every
command read it. :mod:`.main` runs one command line. Each command is one module of :mod:`.commands` and is
imported only when it is called.
"""
