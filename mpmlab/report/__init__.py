"""What people see (floor 5): tables, pictures, progress. Nothing is computed here but to draw."""
