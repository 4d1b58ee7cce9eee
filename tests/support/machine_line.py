"""One line about the machine that tests run on, for the head of a log: results may depend on it.

python tests/machine_line.py
"""

import os

from foleyflow.parallel.precision import precision_setting
from foleyflow.system.processor import feature_text, processor_features, processor_name


def machine_line() -> str:
    """Processor, its features that matter, cores, and the precision that was chosen."""
    features = feature_text(processor_features())
    return (
        f"processor: {processor_name()}, features: {features}, cores: {os.cpu_count()}; "
        f"precision: {precision_setting()}"
    )


if __name__ == "__main__":
    print(machine_line())
