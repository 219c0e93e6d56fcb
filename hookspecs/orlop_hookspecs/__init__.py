"""The contract of orlop: what a plugin or platform author reads, and all that one may import.

The package is laid out in the order in which a container lives:

* :mod:`~orlop_hookspecs.documents`: config.json, state and features as typed classes;
* :mod:`~orlop_hookspecs.hooks`: the hook signatures, one module per concern;
* :mod:`~orlop_hookspecs.steps`: the frozen steps that a plan is made of;
* :mod:`~orlop_hookspecs.host`: what a plugin may look at while it adjusts a config;
* :mod:`~orlop_hookspecs.kernel`: what a platform must be able to do;
* :mod:`~orlop_hookspecs.record`: what is kept of a container between two commands;
* :mod:`~orlop_hookspecs.errors`: every error, on its nearest builtin.

This module imports nothing, because commands that only look at an existing container must not pay for
attrs and pluggy.
"""

CONTRACT_VERSION = "1.1"
"""Version of this contract; a plugin states the one that it was written for."""
