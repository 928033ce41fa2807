"""`vsm`: a controller of five levels and an alarm that learns Blocks World by counting."""
