/* The stand-in needs nothing of it. */
