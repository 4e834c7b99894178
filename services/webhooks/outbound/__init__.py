"""Posts to where customers say, and to nowhere that they must not reach: addresses, names, connections."""
