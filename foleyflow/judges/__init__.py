"""Networks that score sounds: interface, preprocessing, weights and adapters."""
