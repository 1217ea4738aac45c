"""HTTP servers of the product, with bounds."""
