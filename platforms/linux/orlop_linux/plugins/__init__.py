"""The capability plugins of the Linux platform: pure planners, one module per concern.

Each module is a plugin of the contract: module-level hook functions that turn properties of the config into
steps. They run on any operating system, because nothing here touches a kernel. The table beside a plugin's
hooks is the one source for what it advertises, accepts and plans.
"""
