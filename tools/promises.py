#!/usr/bin/env python3
"""Writes into docs/promises.md which tests prove which promise: those whose names begin with its number.

The prose stays; only the list under each heading is made anew. `tests/tidy.rs` fails when the lists are not
those of the code.
"""

import collections
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "promises.md"


def proofs():
    """Returns {promise number: [(file, test)]}."""
    found = collections.defaultdict(list)
    for folder in ("src", "tests"):
        for path in sorted((ROOT / folder).rglob("*.rs")):
            for name in re.findall(r"\bfn ((?:p\d\d_)+\w*)\(", path.read_text()):
                for number in re.findall(r"p(\d\d)_", re.match(r"(?:p\d\d_)+", name)[0]):
                    found[int(number)].append((path.relative_to(ROOT).as_posix(), name))
    return found


def section(text, tests):
    """Replaces the list at the end of one promise's section."""
    prose = re.split(r"\n- ", text, maxsplit=1)[0].rstrip()
    rows = [f"- `{name}` ({path})" for path, name in tests]
    return "\n\n".join([prose] + (["\n".join(rows)] if rows else []))


def main():
    found = proofs()
    head, *sections = re.split(r"(?m)^(?=## P\d+ )", PAGE.read_text())
    numbers = [int(re.match(r"## P(\d+) ", text)[1]) for text in sections]
    parts = [head.rstrip()] + [section(text, found[n]) for n, text in zip(numbers, sections)]
    PAGE.write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
