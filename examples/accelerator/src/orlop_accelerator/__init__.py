"""Accelerator cards for containers, with accounting: an example of a hardware vendor's plugin for orlop."""
