"""The container child: the only code of ours that ever runs inside a container's namespaces.

It runs in a protected copy of the interpreter, imports nothing but the standard library and this package,
takes its part of the plan as data and answers with integers. See :mod:`.protocol` for the handshake.
"""
