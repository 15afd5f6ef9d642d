"""A bundle's firmware: its project, how it is built, and what it takes of a board."""
