"""PixelMed's validators of SR templates and of IODs: Java, all files in one process."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

JAR = Path("/usr/share/java/pixelmed.jar")
PROGRAM = Path(__file__).parent / "pixelmed" / "ValidateAll.java"
TIMEOUT_S = 240

# The rules are large style sheets, for which Java's own limits are too low.
_LIMITS = ("xpathTotalOpLimit", "xpathExprOpLimit", "xpathExprGrpLimit", "entityExpansionLimit")
_OPTIONS = (
    *(f"-Djdk.xml.{limit}=0" for limit in _LIMITS),
    "-Djava.awt.headless=true",
    "-XX:TieredStopAtLevel=1",
    "-Xss16m",
)

FALSE_ALARMS = (
    (r"^Found .* IOD$|^Found Root Template .*|.*[Vv]alidation [Cc]omplete$", "progress"),
    (r"has different code meaning", "the meaning is that of a newer edition of the standard"),
    (
        r'CODE \(276214006,SCT,"Finding category"\): Content Item not in template',
        "its TID 1411 is older than the row for the category",
    ),
    (
        r'CODE \(705057003,SCT,"Presence"\): Content Item not in template',
        "the template may be extended; of a class this tells whether it is there",
    ),
    (
        r"GeneralSeriesModule/Laterality/: : Missing conditional attribute",
        "only for a paired part of the body, which it cannot know; the source has none either",
    ),
    (
        r'CODE \((106233006|272741003),SCT,"[A-Za-z ]+"\): Content Item not in template',
        "the template may be extended; of an absent structure this tells which one it is",
    ),
    (
        r"SpecificCharacterSet/value\[1\]: Unrecognized defined term :ISO_IR 192:",
        "its list of character sets for this IOD has no UTF-8",
    ),
    (
        r"Illegal character\(s\) '[^\x00-\x7f]+' in value",
        "it takes whatever is not ASCII for illegal in UTF-8",
    ),
)
"""Messages that do not count, and why."""


def pixelmed(paths: Sequence[Path]) -> Mapping[Path, tuple[str, ...]]:
    """Give the messages about each file, less those known to be false alarms."""
    command = ["java", *_OPTIONS, "-cp", str(JAR), str(PROGRAM), *map(str, paths)]
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S, check=False
    )
    if done.returncode:
        raise RuntimeError(f"PixelMed ended with {done.returncode}: {done.stderr[-500:]}")
    parts = re.split(r"^== (.*)$", done.stdout, flags=re.MULTILINE)[1:]
    told = dict(zip(parts[::2], parts[1::2], strict=True))
    return {path: _counting(told[str(path)]) for path in paths}


def _counting(text: str) -> tuple[str, ...]:
    lines = dict.fromkeys(line.strip() for line in text.splitlines() if line.strip())
    return tuple(line for line in lines if not any(re.search(p, line) for p, _ in FALSE_ALARMS))
