"""The part of the Linux platform that creates containers and changes their resources, on the host's side.

What runs inside a container's namespaces is in :mod:`orlop_linux.init`; what small commands need is in
:mod:`orlop_linux.live`.
"""
