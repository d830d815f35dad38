"""Values: what a network, a recipe, a request and an outcome are. No torch."""
