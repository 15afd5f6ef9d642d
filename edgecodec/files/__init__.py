"""Files: written whole or not at all, found in a checkout and a wheel, kept by their content."""
