"""The Linux platform: planners that run anywhere, a kernel that executes plans, and the container child.

* :mod:`orlop_linux.plugins`: one pure planner for each capability;
* :mod:`orlop_linux.kernel`: the engine's side of a creation;
* :mod:`orlop_linux.live`: what is done to containers that exist, for commands that import little;
* :mod:`orlop_linux.init`: the only code of ours that runs inside a container's namespaces.
"""
