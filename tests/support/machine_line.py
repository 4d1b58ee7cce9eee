"""One line about the machine for the head of a test log, because results may depend on it.

Usage: PYTHONPATH=. python tests/support/machine_line.py
"""

import os

from foleyflow.parallel.precision import precision_setting
from foleyflow.system.processor import feature_text, processor_features, processor_name


def machine_line() -> str:
    """Processor, its features, cores and the precision setting."""
    features = feature_text(processor_features())
    return (
        f"processor: {processor_name()}, features: {features}, cores: {os.cpu_count()}; "
        f"precision: {precision_setting()}"
    )


if __name__ == "__main__":
    print(machine_line())
