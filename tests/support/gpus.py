"""A driver's program that answers as the real one does on a machine with two GPUs; there is none where tests run."""

from __future__ import annotations

from pathlib import Path

A, B = "GPU-aaaa1111-0000-0000-0000-000000000000", "GPU-bbbb2222-0000-0000-0000-000000000000"


def fake_driver(folder: Path) -> Path:
    """The folder to put in front of PATH."""
    program = folder / "nvidia-smi"
    folder.mkdir()
    program.write_text(f"""#!/bin/sh
[ "$1" = "--query-gpu=index,uuid" ] && [ "$2" = "--format=csv,noheader" ] || exit 1
echo "0, {A}"
echo "1, {B}"
""")
    program.chmod(0o755)
    return folder
