"""Built-in search spaces. They use `clso` as anybody's would, and are found through the same entry
points."""
