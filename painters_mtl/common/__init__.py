"""What every room uses: errors, whole files, the command line, signals. Imports nothing of this package."""
