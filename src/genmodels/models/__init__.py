"""The models, one a file: its networks, its loss, and what it draws."""
