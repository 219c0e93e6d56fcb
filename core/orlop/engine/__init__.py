"""The pure part of the engine: from a config to a plan, and from plugins to the features document."""
