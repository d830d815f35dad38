"""Running recipes, and keeping what they make."""
