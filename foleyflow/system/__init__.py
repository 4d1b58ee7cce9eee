"""Services of the operating system: memory, processor, files, terminal text."""
