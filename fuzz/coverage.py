#!/usr/bin/env python3
"""Prints how many lines of each parser its corpus runs: fuzz/coverage.py [--missed] [PARSER...]

What counts as a parser's lines stands beside its name in fuzz/src/parsers/mod.rs. The corpora run in
tests/corpora.rs, built once with -C instrument-coverage, so that all parsers take one build; cargo fuzz
coverage counts the same with a build for each. Needs a nightly toolchain with its llvm-tools
(rustup +nightly component add llvm-tools).
"""
import glob
import json
import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
WANTED = 90


def run(*command, **more):
    return subprocess.run(command, check=True, text=True, capture_output=True, cwd=ROOT, **more).stdout


def table():
    text = open(f"{ROOT}/fuzz/src/parsers/mod.rs").read()
    text = text.split("PARSERS: &[Parser] = &[")[1].split("\n];")[0]
    rows = re.findall(r'\(\s*"(\w+)",\s*[\w:]+,\s*&\[(.*?)\]', text, re.S)
    return {name: re.findall(r'"([^"]+)"', lines) for name, lines in rows}


def build():
    env = {**os.environ, "RUSTFLAGS": "-C instrument-coverage", "CARGO_TARGET_DIR": f"{ROOT}/target/coverage"}
    env["LLVM_PROFILE_FILE"] = f"{ROOT}/target/coverage/build-%p.profraw"
    told = run("cargo", "+nightly", "test", "--test", "corpora", "--no-run", "--message-format=json", env=env)
    for left in glob.glob(f"{ROOT}/target/coverage/build-*.profraw"):
        os.remove(left)
    made = [json.loads(line) for line in told.splitlines() if line.startswith("{")]
    programs = [row["executable"] for row in made if row.get("target", {}).get("name") == "corpora"]
    return [program for program in programs if program][-1]


def counts(program, parser, tools):
    """Runs one corpus; returns for each source file how often each of its lines ran."""
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "CORREIO_CORPUS": parser, "LLVM_PROFILE_FILE": f"{folder}/raw"}
        run(program, "p09_every_file_of_every_corpus_holds", env=env)
        run(f"{tools}/llvm-profdata", "merge", "-sparse", f"{folder}/raw", "-o", f"{folder}/data")
        text = run(f"{tools}/llvm-cov", "export", "-format=lcov", f"-instr-profile={folder}/data", program)
    files, lines = {}, {}
    for row in text.splitlines():
        if row.startswith("SF:"):
            lines = files.setdefault(os.path.relpath(row[3:], ROOT), {})
        elif row.startswith("DA:"):
            line, count = row[3:].split(",")[:2]
            lines[int(line)] = lines.get(int(line), 0) + int(count)
    return files


def ranges(file, functions):
    """The lines of some functions, as rustfmt leaves them: to the brace below the first word."""
    source = open(f"{ROOT}/{file}").read().splitlines()
    for at, line in enumerate(source):
        found = re.match(r"( *)(?:pub(?:\([\w ]+\))? )?(?:const )?fn (\w+)", line)
        if found and found[2] in functions:
            end = next(n for n in range(at, len(source)) if source[n] == found[1] + "}")
            yield from range(at + 1, end + 2)


def main():
    words = sys.argv[1:]
    missed = "--missed" in words
    wanted = [word for word in words if word != "--missed"]
    tools = run("rustc", "+nightly", "--print", "sysroot").strip() + "/lib/rustlib/"
    tools += re.search(r"host: (\S+)", run("rustc", "+nightly", "-vV"))[1] + "/bin"
    program, low = build(), []
    print(f"{'parser':16} {'lines':>6} {'run':>6} {'share':>7}")
    for parser, places in table().items():
        if wanted and parser not in wanted:
            continue
        files, total, ran, left = counts(program, parser, tools), 0, 0, []
        for place in places:
            file, _, functions = place.partition(":")
            lines = files.get(file, {})
            if functions:
                inside = set(ranges(file, functions.split(",")))
                lines = {line: count for line, count in lines.items() if line in inside}
            total += len(lines)
            ran += sum(count > 0 for count in lines.values())
            left += [f"{file}:{line}" for line, count in sorted(lines.items()) if count == 0]
        share = 100 * ran / max(total, 1)
        print(f"{parser:16} {total:6} {ran:6} {share:6.1f}%", flush=True)
        if share < WANTED:
            low.append(parser)
        if missed:
            print("".join(f"  {line}\n" for line in left), end="")
    if low:
        sys.exit(f"below {WANTED} %: {', '.join(low)}")


if __name__ == "__main__":
    main()
