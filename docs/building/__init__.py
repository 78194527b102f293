"""What Sphinx needs to make the API reference from the docstrings of the package."""
