"""ICAP (RFC 3507): what is said (`requests`, `replies`, `headers`), what it means (`verdict`, `vendors`), how it is
carried (`wire`, `connections`), and the engine made of all (`net`)."""
