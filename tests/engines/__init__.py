"""Engines with orlop as their runtime: real containers, real command lines."""
