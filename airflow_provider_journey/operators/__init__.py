"""Operators of the Journey API."""
