"""What people look at: figures, HTML pages, sheets."""
