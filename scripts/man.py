#!/usr/bin/env python3
"""Writes man/*.3 from the comments in include/pool_metadata.h, so that the manual says what the header says.

    scripts/man.py          writes the pages
    scripts/man.py --check  fails, naming the command, where a page is not what would be written

A page for every documented function and struct. Constants go to the page of the struct they are used in. In a comment,
blank lines part paragraphs, "- " starts a list's item, "# " a section, and `backticks` mark code.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEADER = ROOT / "include" / "pool_metadata.h"
MAN = ROOT / "man"
DATE = "2026-11-22"
COMMAND = "make man"

# Which struct's page lists which constants, under which heading.
CONSTANTS = [
    ("pm_error", "STATUS CODES", r"PM_(OK|ERR_\w+)$"),
    ("pm_device", "STATES", r"PM_STATE_\w+$"),
    ("pm_options", "FLAGS", r"PM_OPEN_\w+$"),
    ("pm_options", "VERIFICATION", r"PM_VERIFY_\w+$"),
    ("pm_options", "DURABILITY", r"PM_DURABILITY_\w+$"),
]

TOKEN = re.compile(
    r"""(?P<doc>/\*\*.*?\*/|(?:[ \t]*///[^\n]*\n?)+)
      | (?P<comment>/\*.*?\*/|//[^\n]*)
      | (?P<directive>^[ \t]*\#(?:\\\n|[^\n])*)
      | (?P<string>"(?:\\.|[^"\\])*")
      | (?P<other>\S|\s)""",
    re.S | re.M | re.X,
)


class Item:
    """One declaration: its text and its comment's lines."""

    def __init__(self, text, doc):
        self.text = " ".join(text.split())
        self.doc = doc


def clean(comment):
    """The lines of a comment without its decoration."""
    if comment.lstrip().startswith("///"):
        return [re.sub(r"^\s*/// ?", "", line).rstrip() for line in comment.splitlines()]
    lines = comment.strip()[3:-2].splitlines()
    lines = [re.sub(r"^\s*\* ?", "", line).rstrip() for line in lines]
    while lines and not lines[0].strip():
        lines.pop(0)
    while lines and not lines[-1].strip():
        lines.pop()
    if lines:
        lines[0] = lines[0].strip()
    return lines


def declarations(text, separator=";"):
    """Splits at top-level separators into items, each with the comment before it; directives are items as well."""
    doc, code, depth = [], "", 0
    for token in TOKEN.finditer(text):
        kind, piece = token.lastgroup, token.group()
        if depth == 0 and kind == "doc" and not code.strip():
            doc = clean(piece)
        elif kind == "directive":
            if depth == 0:
                yield Item(piece.replace("\\\n", " "), doc)
                doc, code = [], ""
        elif kind == "comment":
            continue
        else:
            depth += {"{": 1, "}": -1}.get(piece, 0)
            code += piece
            inline_body = piece == "}" and depth == 0 and code.lstrip().startswith("static")
            if depth == 0 and (piece == separator or inline_body):
                yield Item(code.strip().rstrip(separator), doc)
                doc, code = [], ""
            elif code.strip() in ('extern "C" {', "}"):
                doc, code, depth = [], "", 0
    if code.strip():
        yield Item(code, doc)


def roff(text):
    """Escapes a text, and makes `code` bold."""
    text = text.replace("\\", "\\e")
    parts = text.split("`")
    for i in range(1, len(parts), 2):
        parts[i] = "\\fB" + parts[i].replace("-", "\\-").replace("'", "\\(aq").replace('"', "\\(dq") + "\\fR"
    return "".join(parts)


def sentences(text):
    """One sentence a line, as roff wants it; no line starts with a control character."""
    lines = re.sub(r"(?<=[.:;!?]) +(?=[A-Z0-9`])", "\n", text).splitlines()
    return ["\\&" + roff(line) if line[0] in ".'" else roff(line) for line in lines]


def body(lines):
    """A comment's lines as roff."""
    out, paragraph, in_list = [], [], False

    def flush():
        if paragraph:
            out.extend(sentences(" ".join(paragraph)))
            paragraph.clear()

    for line in lines:
        bullet = re.match(r"\s*[-*] (.*)", line)
        if line.startswith("#"):
            flush()
            in_list = False
            out.append(".SH " + line.lstrip("# ").upper())
        elif bullet:
            flush()
            in_list = True
            out.append(".IP \\(bu 2")
            paragraph.append(bullet.group(1).strip())
        elif not line.strip():
            flush()
            in_list = False
            out.append(".PP")
        else:
            if in_list and not line.startswith(" "):
                flush()
                in_list = False
                out.append(".PP")
            paragraph.append(line.strip())
    flush()
    # A paragraph mark before a heading, another mark or the end says nothing.
    return [
        line
        for i, line in enumerate(out)
        if line != ".PP" or (i > 0 and i + 1 < len(out) and not out[i + 1].startswith((".SH", ".PP", ".IP"))
                             and not out[i - 1].startswith(".SH"))
    ]


def split_parameters(text):
    """Splits at the commas that are not inside a callback's own parameters."""
    parts, depth, start = [], 0, 0
    for i, char in enumerate(text):
        depth += {"(": 1, ")": -1}.get(char, 0)
        if char == "," and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    return [part.strip() for part in parts + [text[start:]]]


def italic_name(parameter):
    """The parameter in roff, its name in italics."""
    match = re.match(r"(.*\(\*)(\w+)(\).*)$", parameter) or re.match(r"(.*[ *])(\w+)((?:\[\w*\])?)$", parameter)
    if not match:
        return parameter
    return f"{match.group(1)}\\fI{match.group(2)}\\fB{match.group(3)}"


def visible(text):
    return len(re.sub(r"\\f[BIR]", "", text))


def prototype(match):
    """A function's declaration over lines of at most 78 columns."""
    head = f"{match.group('type').strip()} ".replace("* ", "*") + match.group("name") + "("
    lines, line = [], head
    parameters = [italic_name(p) for p in split_parameters(match.group("parameters"))]
    for i, parameter in enumerate(parameters):
        piece = parameter + (");" if i + 1 == len(parameters) else ",")
        if visible(line) + 1 + visible(piece) > 78 and line != head:
            lines.append(line)
            line = " " * min(len(head), 8) + piece
        else:
            line += piece if line == head else " " + piece
    return ["\\fB" + text + "\\fR" for text in lines + [line]]


FUNCTION = re.compile(r"(?P<type>[\w \*]+?)\s*\b(?P<name>pm_\w+)\((?P<parameters>.*)\)(?:\s*\{.*)?$", re.S)
STRUCT = re.compile(r"typedef struct (?:pm_\w+ )?\{(?P<fields>.*)\} ?(?P<name>pm_\w+)$|"
                    r"struct (?P<tag>pm_\w+) ?\{(?P<tagged>.*)\}$", re.S)
CONSTANT = re.compile(r"#\s*define (?P<name>PM_\w+) +(?P<value>\S.*)$")


def name_line(name, doc):
    """The NAME section's line and the comment without its first sentence."""
    text = " ".join(line.strip() for line in doc[: doc.index("")] if line) if "" in doc else " ".join(doc)
    first = re.split(r"(?<=[.:;]) ", text, maxsplit=1)[0]
    summary = first.rstrip(".:;").replace("`", "")
    if summary[:2].istitle() or summary[1:2] == " ":
        summary = summary[0].lower() + summary[1:]
    return f"{name} \\- {summary}"


def page(name, synopsis, doc, sections, others):
    out = [
        f'.\\" Written by scripts/man.py from include/pool_metadata.h: change that one, then run `{COMMAND}`.',
        f".TH {name.upper()} 3 {DATE} pool-metadata",
        ".SH NAME",
        name_line(name, doc),
        ".SH SYNOPSIS",
        ".nf",
        "\\fB#include <pool_metadata.h>\\fR",
        "",
        *synopsis,
        ".fi",
        ".SH DESCRIPTION",
        *body(doc),
    ]
    for title, lines in sections:
        out += [f".SH {title}", *lines]
    # Only what the page speaks of: the whole list is in the overview.
    text = " ".join(doc + synopsis)
    seen = [other for other in others if other != name and re.search(rf"\b{other}\b", text)]
    out += [".SH SEE ALSO", *[f".BR {other} (3)," for other in seen], ".BR pool_metadata (7)"]
    return "\n".join(out) + "\n"


def field_name(declaration):
    return re.search(r"(\w+)(?:\[\w*\])?$", declaration).group(1)


def tagged(term, doc):
    # .IP and not .PP between paragraphs: it keeps the indentation.
    text = [".IP" if line == ".PP" else line for line in body(doc)]
    return [".TP", f"\\fB{roff(term)}\\fR", *(text or ["\\&"])]


def struct_page(match, doc, constants, others):
    name = match.group("name") or match.group("tag")
    fields = [item for item in declarations(match.group("fields") or match.group("tagged"))
              if item.text and not item.text.startswith("#")]
    synopsis = ["\\fBtypedef struct " + name + " {", *["    " + field.text + ";" for field in fields],
                "} " + name + ";\\fR"]
    sections = [("FIELDS", [line for field in fields for line in tagged(field_name(field.text), field.doc)])]
    for owner, title, pattern in CONSTANTS:
        rows = [(c, v, d) for c, v, d in constants if re.match(pattern, c)]
        if owner == name and rows:
            sections.append((title, [line for c, v, d in rows for line in tagged(f"{c} ({v})", d)]))
    return page(name, synopsis, doc, sections, others)


def pages():
    items = list(declarations(HEADER.read_text()))
    constants, found = [], []
    for item in items:
        constant = CONSTANT.match(item.text)
        enum = re.match(r"(?:typedef )?enum\b.*?\{(.*)\}", item.text, re.S)
        if constant:
            constants.append((constant.group("name"), constant.group("value").strip("() "), item.doc))
        elif enum is None and item.doc and not re.match(r"typedef .*\(\*", item.text):
            match = STRUCT.search(item.text) or FUNCTION.match(item.text)
            if match:
                found.append((match, item.doc))
    names = [match.group("name") or match.group("tag") for match, _ in found]
    out = {}
    for name, (match, doc) in zip(names, found):
        if match.re is STRUCT:
            out[name] = struct_page(match, doc, constants, names)
        else:
            out[name] = page(name, prototype(match), doc, [], names)
    return out


def main():
    written = {f"{name}.3": text for name, text in pages().items()}
    listed = (ROOT / "scripts" / "symbols.txt").read_text().split()
    overview = (MAN / "pool_metadata.7").read_text()
    problems = [f"the header has no comment for {name}" for name in listed if f"{name}.3" not in written]
    problems += [f"man/pool_metadata.7 does not mention {name}" for name in listed
                 if not re.search(rf"\b{name}\b", overview)]
    if sys.argv[1:] == ["--check"]:
        there = {path.name: path.read_text() for path in MAN.glob("*.3")}
        problems += [f"man/{name} is not what the header says; run `{COMMAND}` and commit it"
                     for name in sorted(written.keys() | there.keys()) if written.get(name) != there.get(name)]
    else:
        for path in MAN.glob("*.3"):
            path.unlink()
        for name, text in written.items():
            (MAN / name).write_text(text)
    for problem in problems:
        print("man: " + problem, file=sys.stderr)
    if problems:
        sys.exit(1)
    print(f"man: {len(written)} pages")


if __name__ == "__main__":
    main()
