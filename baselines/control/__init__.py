"""`control`: policies for Blocks World that controllers are held against."""
