"""A folder of paintings to a table, classes and a split."""
