"""What scores and portraits are made of: the tree of dimensions, its configuration file, the portraits."""
