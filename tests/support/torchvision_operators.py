"""Makes `import timm` work although the installed torchvision was built for another torch.

timm imports torchvision, whose import fails if its compiled operators are missing. The encoders use
none of them, so declaring their names is enough.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch

NAMES = (
    "nms",
    "qnms",
    *(
        f"{start}{name}{end}"
        for name in ("roi_align", "ps_roi_align", "roi_pool", "ps_roi_pool", "deform_conv2d")
        for start, end in (("", ""), ("_", "_backward"))
    ),
)
# Declarations last as long as their library object.
DECLARED: list[torch.library.Library] = []


def declare_missing() -> None:
    """Declares torchvision's operators, unless its own library can be loaded."""
    found = importlib.util.find_spec("torchvision")
    if found is None or found.origin is None or DECLARED:
        return
    for compiled in Path(found.origin).parent.glob("_C*.so"):
        try:
            torch.ops.load_library(str(compiled))
        except OSError:
            continue
        return
    library = torch.library.Library("torchvision", "DEF")
    for name in NAMES:
        library.define(f"{name}(Tensor input) -> Tensor")
    DECLARED.append(library)
