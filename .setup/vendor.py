"""Copy what the browser and the PDF need out of node_modules, and check every byte of it.

    python .setup/vendor.py            copy; refuse a file whose SHA-256 is not the one in vendor.json
    python .setup/vendor.py --accept   copy; write what was found into vendor.json (`make lock`)

`vendor.json` names each source, its target and its expected SHA-256, and the package whose types the checker of
our JavaScript should read for it. The copies are never committed;
`static/vendor/manifest.json` lists the ones the browser gets, `{file name: sha256}`.
"""

import hashlib
import json
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIST = ROOT / ".setup" / "vendor.json"
SOURCE = ROOT / "node_modules"
BROWSER = Path("static/vendor")


def main(arguments: list[str]) -> int:
    accept = arguments == ["--accept"]
    entries = json.loads(LIST.read_text())
    for entry in entries:
        source, target = SOURCE / entry["from"], ROOT / entry["to"]
        if not source.is_file() and not (target.is_file() and not accept):
            print(f"{source.relative_to(ROOT)} is missing: run `make setup`.", file=sys.stderr)
            return 1
        if "types" in entry:
            write(
                target.with_suffix(".d.ts"), f'export {entry.get("exports", "{ default }")} from "{entry["types"]}";\n'
            )
        if accept:
            entry["sha256"] = sha256(source)
        elif target.is_file() and sha256(target) == entry["sha256"]:
            continue
        elif not source.is_file() or sha256(source) != entry["sha256"]:
            print(f"{entry['from']} is not the file named in .setup/vendor.json.", file=sys.stderr)
            return 1
        copy(source, target)
    if accept:
        write(LIST, json.dumps(entries, indent=2) + "\n")
    manifest = {Path(entry["to"]).name: entry["sha256"] for entry in entries if served(entry["to"])}
    write(ROOT / BROWSER / "manifest.json", json.dumps(manifest, indent=2, sort_keys=True) + "\n")
    return 0


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def copy(source: Path, target: Path) -> None:
    """Put the copy in place in one step, so that a reader never meets half a file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    half = target.with_name(f".{target.name}.{os.getpid()}")
    half.write_bytes(source.read_bytes())
    half.replace(target)


def served(target: str) -> bool:
    return Path(target).parent == BROWSER


def write(path: Path, text: str) -> None:
    """Write only what differs, so that nothing looks newer than it is."""
    if not path.is_file() or path.read_text() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
