"""Reading fetched batches in bounded memory, whatever a producer put into them."""
