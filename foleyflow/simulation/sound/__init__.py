"""Modal sound synthesis from contacts, and sounds for codec training."""
