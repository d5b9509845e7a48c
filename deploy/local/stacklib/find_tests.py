"""Which tests a name stands for: says to `deploy/local/test` what cargo has to be told.

  find_tests.py NAME     a suite, a file of tests, or any part of a test's name; `unit` is all
                         that needs no server

It prints four lines: `servers` if they are needed, `programs` if they are, cargo's words for what
is to be built, and the word for the test programs, by which they choose tests.
"""

import json
import pathlib
import re
import subprocess
import sys

REPOSITORY = pathlib.Path(__file__).resolve().parents[3]
# Suites that need no server. All others do; tests beside the code never do.
ALONE = {"mapping_files", "program", "fuzz"}
# Folders of packages whose suites start the programs of other packages.
STARTERS = [REPOSITORY / name for name in ("tests", "operator/tests", "producer/tests")]
TEST = re.compile(r"#\[(?:tokio::)?test\b[^\n]*\n(?:\s*#\[[^\n]*\n|\s*//[^\n]*\n)*\s*(?:async )?fn (\w+)")


def targets():
    """The folder and the cargo words of each library, binary and suite."""
    told = subprocess.run(
        ["cargo", "metadata", "--no-deps", "--format-version", "1"],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
    )
    for package in json.loads(told.stdout)["packages"]:
        for target in package["targets"]:
            source = pathlib.Path(target["src_path"])
            kind = target["kind"][0]
            if kind == "test":
                # A suite of one file has no folder of its own.
                place = source.parent if source.name == "main.rs" else source
                yield place, f"--test {target['name']}", target["name"]
            elif kind == "lib":
                yield source.parent, "--lib", None


def suite_of(file, known):
    """The innermost target that a file belongs to."""
    inside = [t for t in known if t[0] == file or t[0] in file.parents]
    return max(inside, key=lambda target: len(target[0].parts), default=None)


def fitting(name, known):
    """The targets that hold tests or files of this name."""
    for file in sorted(REPOSITORY.rglob("*.rs")):
        inside = file.relative_to(REPOSITORY).parts[0]
        if inside == "target" or inside.startswith("."):
            continue
        tests = TEST.findall(file.read_text())
        if tests and (file.stem == name or any(name in test for test in tests)):
            target = suite_of(file, known)
            if target:
                yield target


def main():
    name = sys.argv[1]
    known = list(targets())
    if name == "unit":
        alone = {words for _, words, suite in known if suite in ALONE}
        print("", "", " ".join(["--lib", "--bins", *sorted(alone)]), "", sep="\n")
        return 0
    suites = [target for target in known if target[2] == name]
    chosen = suites or list(fitting(name, known))
    if not chosen:
        names = sorted(suite for _, _, suite in known if suite)
        print(f"no suite, file of tests or test is called `{name}`", file=sys.stderr)
        print(f"suites: {' '.join(names)}, and `unit`", file=sys.stderr)
        return 2
    needed = {suite for _, _, suite in chosen if suite} - ALONE
    starters = any(
        starter in place.parents for place, _, suite in chosen if suite for starter in STARTERS
    )
    print(
        "servers" if needed else "",
        "programs" if starters else "",
        " ".join(sorted({words for _, words, _ in chosen})),
        "" if suites else name,
        sep="\n",
    )
    return 0


sys.exit(main())
