"""The ablation tables of the paper: definitions, recipes of their cells, and one runner."""
