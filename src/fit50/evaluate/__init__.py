"""Metrics with their uncertainty."""
