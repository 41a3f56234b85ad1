"""`make readme`: run the demo and put its output, its picture and the commands' help into the README.

The picture shows the first candidates alone: those of the packaged demo are the astronaut (NASA, public domain).
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from PIL import Image

README = Path("README.md")
PICTURE = Path("docs/candidates.png")
_WIDTH = 1200


def main() -> int:
    """Rewrite the marked blocks of the README; the demo's exit code."""
    done = subprocess.run([sys.executable, "-m", "demo"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.stderr.write(done.stdout + done.stderr)
        return done.returncode
    text = README.read_text()
    text = put_block(text, "demo", "$ make demo\n" + _trimmed(done.stdout))
    for program in ("hub", "agency-node"):
        text = put_block(text, f"{program} --help", help_of(program))
    README.write_text(text)
    sheet = Image.open("demo-out/first-candidates.png")
    sheet.resize((_WIDTH, round(sheet.height * _WIDTH / sheet.width)), Image.Resampling.LANCZOS).save(PICTURE)
    return 0


def put_block(text: str, name: str, content: str) -> str:
    """The text with the fenced block after `<!-- name -->` replaced."""
    pattern = re.compile(rf"(<!-- {re.escape(name)} -->\n```text\n).*?(\n```)", re.DOTALL)
    changed, count = pattern.subn(lambda found: found[1] + content + found[2], text)
    if count != 1:
        raise ValueError(f"README.md has no block called {name}")
    return changed


def block(text: str, name: str) -> str:
    """What stands in the block after `<!-- name -->`."""
    found = re.search(rf"<!-- {re.escape(name)} -->\n```text\n(.*?)\n```", text, re.DOTALL)
    if found is None:
        raise ValueError(f"README.md has no block called {name}")
    return found[1]


def help_of(program: str) -> str:
    """What `--help` prints, at the width of a terminal of 80 columns."""
    command = [str(Path(sys.executable).parent / program), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return f"$ {program} --help\n" + _trimmed(done.stdout)


def _trimmed(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


if __name__ == "__main__":
    raise SystemExit(main())
