"""Scripts that rebuild the embedded extracts from the packages that they were taken from."""
