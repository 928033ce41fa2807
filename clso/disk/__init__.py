"""What lies on disk: whole and durable files, checksums, bounded reading of JSON and TOML."""
