"""Training tasks: what each model optimises, validates and exports."""
