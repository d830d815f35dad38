"""Images on disk become batches: decoded once, split for good, audited, and cached."""
