"""How the product runs: the embedded stack, and the configuration of the production images."""
