"""The error of the modules that read and change the structure of container files."""


class ContainerError(ValueError):
    """A container file is damaged, or its structure is not the expected one."""
