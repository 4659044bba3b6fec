"""A page that stylises in the browser: what it consists of, and a server for it."""
