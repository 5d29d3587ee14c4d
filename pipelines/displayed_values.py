"""Values of a projection as a screen shows them: 0 (black) to 255 (white), whole numbers.

Models of X-rays are mostly trained on pictures that a viewer has exported. Its grey scale pipeline
(PS3.3 C.11.2, N.2) is the first VOI LUT or window of the image, then MONOCHROME1 turned round.
An image that states neither is shown from its lowest to its highest value, and one of 8 bits as
it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pipelines.errors import RefusalCode, Refused

WHITE = 255.0
BITS_OF_A_PICTURE = 8
MOST_ENTRIES = 1 << 16  # written as 0
Pixels = NDArray[np.float32]
Float = NDArray[np.float64]


def displayed(values: Pixels, image: Dataset) -> Pixels:
    """What of `values` (after the Modality LUT, as stored before it) a screen shows.

    Raises `Refused` (unreadable_pixels) where window or LUT are unusable.
    """
    try:
        shares = _shares(values.astype(np.float64), image)
    except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as error:
        text = f"window or VOI LUT of the image are malformed ({type(error).__name__})"
        raise Refused(RefusalCode.UNREADABLE_PIXELS, text) from error
    if image.get("PhotometricInterpretation") == "MONOCHROME1":
        shares = 1.0 - shares
    return np.rint(WHITE * np.clip(shares, 0.0, 1.0)).astype(np.float32)


def _shares(values: Float, image: Dataset) -> Float:
    """0 for black to 1 for white, of an image whose low values are black."""
    if image.get("VOILUTSequence"):
        return _by_table(values, image)
    if _first(image, "WindowCenter") is not None and _first(image, "WindowWidth") is not None:
        return _by_window(values, image)
    if int(image.BitsStored) == BITS_OF_A_PICTURE and values.min() >= 0 and values.max() <= WHITE:
        return values / WHITE
    span = float(values.max() - values.min())
    shares: Float = (values - values.min()) / (span or 1.0)
    return shares


def _by_table(values: Float, image: Dataset) -> Float:
    """The first VOI LUT; values beyond its ends have those of its ends (PS3.3 C.11.2.1.1)."""
    item = image.VOILUTSequence[0]
    count, first, bits = (int(value) for value in item.LUTDescriptor)
    if first >= MOST_ENTRIES // 2 and values.min() < 0:
        first -= MOST_ENTRIES  # written as unsigned, though the values are not
    table = _entries(item.LUTData)
    if bits == BITS_OF_A_PICTURE and len(table) == -(-(count or MOST_ENTRIES) // 2):
        table = table.astype("<u2").view(np.uint8)  # two entries a word
    indices = np.clip(np.rint(values).astype(np.int64) - first, 0, len(table) - 1)
    shown: Float = table[indices].astype(np.float64)
    return shown / (2.0**bits - 1.0)


def _entries(data: Any) -> NDArray[np.uint16]:
    if isinstance(data, bytes):
        return np.frombuffer(data, dtype="<u2")
    return np.asarray(list(data), dtype=np.uint16)


def _by_window(values: Float, image: Dataset) -> Float:
    """The three functions of VOI LUT Function (PS3.3 C.11.2.1.2, C.11.2.1.3)."""
    centre, width = float(_first(image, "WindowCenter")), float(_first(image, "WindowWidth"))
    function = str(image.get("VOILUTFunction") or "LINEAR").strip().upper()
    if function == "SIGMOID" and width > 0:
        sigmoid: Float = 1.0 / (1.0 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700)))
        return sigmoid
    if function == "LINEAR_EXACT" and width > 0:
        return (values - centre) / width + 0.5
    if function == "LINEAR" and width >= 1:
        # A width of 1 is a threshold.
        return (values - (centre - 0.5)) / max(width - 1, 1e-6) + 0.5
    text = f"VOI LUT Function {function[:16]!r} with a window width of {width:g}"
    raise Refused(RefusalCode.UNREADABLE_PIXELS, text)


def _first(image: Dataset, keyword: str) -> Any:
    value = image.get(keyword)
    if value is None or value == "":
        return None
    return value if isinstance(value, int | float | str) else value[0]
