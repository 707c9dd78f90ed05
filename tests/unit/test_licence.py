"""The licence that the documents name is in the tree, whole, and goes wherever the package goes."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.conftest import ROOT

APACHE_2_SHA256 = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
"""Of the text as its authors publish it."""


def test_the_text_is_the_published_one() -> None:
    assert hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest() == APACHE_2_SHA256


def test_the_wheel_carries_it(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT, capture_output=True, check=True,
    )  # fmt: skip
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as content:
        [metadata] = [name for name in content.namelist() if name.endswith(".dist-info/METADATA")]
        assert "\nLicense-Expression: Apache-2.0\nLicense-File: LICENSE\n" in content.read(metadata).decode()
        text = content.read(metadata.replace("METADATA", "licenses/LICENSE"))
    assert hashlib.sha256(text).hexdigest() == APACHE_2_SHA256
