"""Checkpoints, foreign weights, and surgery on tensors."""
