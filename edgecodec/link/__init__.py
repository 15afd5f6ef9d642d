"""The serial link: messages, the port, and the client that has a board encode frames."""
