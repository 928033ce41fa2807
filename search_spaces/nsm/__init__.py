"""Neural State Machines from grown or random crystals."""
