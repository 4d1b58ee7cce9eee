"""Frame and audio encoders: the embedded motion encoder and the published, frozen ones."""
