"""Handles on the C core; private."""
