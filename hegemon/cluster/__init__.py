"""A node's control process: what it is made of and how it is kept alive."""
