"""What small commands need of the Linux platform; every module here imports in a fraction of a millisecond.

``state``, ``start``, ``kill`` and ``delete`` load nothing else of the platform, so these modules use the C
modules beneath the standard library (``_signal``, ``_socket``) where the public ones would cost more than the
whole command.
"""
