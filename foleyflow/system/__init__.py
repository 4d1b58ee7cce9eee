"""Operating system and machine: memory, processor, devices, files, clocks and terminal text."""
