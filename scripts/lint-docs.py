#!/usr/bin/env python3
"""Checks that what the documentation and the scripts name is there: scripts/lint-docs.py

Links must lead to a file, and to a heading in it. A path in backticks must be in the tree. In
docs/reliability.md, which lists the tests that hold each promise, a name in backticks that looks
like a test's must be a function. So must what cargo is told to skip in a script, since it ignores
a name that matches no test.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md")),
         *sorted(ROOT.glob("go-binding/**/*.md")), *sorted(ROOT.glob("e2e/*.md"))]
SCRIPTS = [ROOT / "Makefile", *sorted(ROOT.glob("scripts/*.sh"))]
TOP = (r"(?:src|tests|c-tests|go-binding|docs|scripts|examples|fuzz|benches|e2e|man|include|"
       r"pmctl)")
# The changelog names files as they were.
HISTORY = {"CHANGELOG.md"}


def anchors(page):
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def links(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if link.startswith(("http:", "https:")):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            yield f"links to {link}"


def paths(page):
    for code in re.findall(r"`([^`\n]+)`", page.read_text()):
        name = re.match(rf"{TOP}/[\w./-]*", code)
        if name and not (ROOT / name.group()).exists():
            yield f"names {name.group()}"


def tests(page):
    names = set(re.findall(r"`([a-z0-9]+(?:_[a-z0-9]+){2,})`", page.read_text()))
    for name in sorted(names):
        found = subprocess.run(
            ["grep", "-rqE", rf"\b{name}\b", "tests", "c-tests", "go-binding", "src"], cwd=ROOT)
        if found.returncode and not (ROOT / "c-tests" / f"{name}.c").exists():
            yield f"names a test {name}"


def skips(script):
    for name in re.findall(r"--skip ([\w:]+)", script.read_text()):
        found = subprocess.run(["grep", "-rqE", rf"fn \w*{name}", "tests", "src"], cwd=ROOT)
        if found.returncode:
            yield f"skips a test {name}"


def main():
    problems = [f"{script.relative_to(ROOT)} {what}, which is not there"
                for script in SCRIPTS for what in skips(script)]
    for page in PAGES:
        found = list(links(page))
        if page.name not in HISTORY:
            found += paths(page)
        if page.name == "reliability.md":
            found += tests(page)
        problems += [f"{page.relative_to(ROOT)} {what}, which is not there" for what in found]
    for problem in problems:
        print("lint: " + problem, file=sys.stderr)
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
