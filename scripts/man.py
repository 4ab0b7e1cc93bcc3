#!/usr/bin/env python3
"""Writes man/*.3 from the comments in include/pool_metadata.h, so that both say the same.

    scripts/man.py          writes the pages
    scripts/man.py --check  fails, naming the command, where a page differs from the header

Every documented function and struct gets a page. Constants go to the page of the struct that uses
them, callbacks to that of the function that takes them, inline functions to that of their struct.
In a comment, blank lines separate paragraphs, "- " starts a list item, "@param" and "@return" mean
what they mean in doxygen, "Thread safety:" and "# Title" start a section, `backticks` mark code.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEADER = ROOT / "include" / "pool_metadata.h"
MAN = ROOT / "man"
DATE = "2026-11-22"
COMMAND = "make man"

# Which struct's or function's page lists which constants, under which heading.
CONSTANTS = [
    ("pm_error", "STATUS CODES", r"PM_(OK|ERR_\w+)$"),
    ("pm_device", "STATES", r"PM_STATE_\w+$"),
    ("pm_options", "FLAGS", r"PM_OPEN_\w+$"),
    ("pm_options", "VERIFICATION", r"PM_VERIFY_\w+$"),
    ("pm_options", "DURABILITY", r"PM_DURABILITY_\w+$"),
    ("pm_backup", "FLAGS", r"PM_BACKUP_\w+$"),
    ("pm_finding", "KINDS", r"PM_FINDING_\w+$"),
    ("pm_finding", "WHAT FIXES THEM", r"PM_FIX_\w+$"),
    ("pm_repair_options", "FLAGS", r"PM_REPAIR_DRY_RUN$"),
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
    """A declaration and the lines of its comment, an ordinary one too where it is inline."""

    def __init__(self, text, doc, note=()):
        # Comments inside the declaration lose their decoration and their line ends.
        self.text = " ".join(re.sub(r"\n\s*\* ", "\n", text).split())
        self.doc = doc or (list(note) if self.text.startswith("static") else [])


def clean(comment):
    """The lines of a comment without its decoration."""
    if comment.lstrip().startswith("///"):
        return [re.sub(r"^\s*/// ?", "", line).rstrip() for line in comment.splitlines()]
    lines = comment.strip().lstrip("/").lstrip("*")[:-2].splitlines()
    lines = [re.sub(r"^\s*\* ?", "", line).rstrip() for line in lines]
    while lines and not lines[0].strip():
        lines.pop(0)
    while lines and not lines[-1].strip():
        lines.pop()
    if lines:
        lines[0] = lines[0].strip()
    return lines


def declarations(text, separator=";"):
    """Splits at top-level separators into items with their comments; directives are items too."""
    doc, note, code, depth = [], [], "", 0
    for token in TOKEN.finditer(text):
        kind, piece = token.lastgroup, token.group()
        if depth == 0 and kind == "doc" and not code.strip():
            doc = clean(piece)
        elif kind == "directive":
            if depth == 0:
                yield Item(piece.replace("\\\n", " "), doc)
                doc, code = [], ""
        elif kind == "comment":
            if depth == 0 and piece.startswith("/*"):
                note = clean(piece)
        else:
            depth += {"{": 1, "}": -1}.get(piece, 0)
            code += piece
            inline_body = piece == "}" and depth == 0 and code.lstrip().startswith("static")
            if depth == 0 and (piece == separator or inline_body):
                yield Item(code.strip().rstrip(separator), doc, note)
                doc, note, code = [], [], ""
            elif code.strip() in ('extern "C" {', "}"):
                doc, code, depth = [], "", 0
    if code.strip():
        yield Item(code, doc)


def roff(text):
    """Escapes a text, and makes `code` and the library's own names bold."""
    text = text.replace("\\", "\\e").replace("^", "\\(ha").replace("~", "\\(ti")
    parts = text.split("`")
    for i, part in enumerate(parts):
        if i % 2 == 1:
            parts[i] = "\\fB" + part.replace("-", "\\-").replace("'", "\\(aq") + "\\fR"
        else:
            name = r"\b(?:pm_|PM_)[\w.]*\w(?:\(\))?|\bPM_\w*_\*?"
            parts[i] = re.sub(name, r"\\fB\g<0>\\fR", part)
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


    def needed(i):
        """A paragraph mark is redundant at either end and beside a heading or another mark."""
        return (0 < i < len(out) - 1 and not out[i - 1].startswith(".SH")
                and not out[i + 1].startswith((".SH", ".PP", ".IP")))

    return [line for i, line in enumerate(out) if line != ".PP" or needed(i)]


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
    match = (re.match(r"(.*\(\*)(\w+)(\).*)$", parameter)
             or re.match(r"(.*[ *])(\w+)((?:\[\w*\])?)$", parameter))
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


FUNCTION = re.compile(r"(?:static inline )?(?P<type>[\w \*]+?)\s*\b(?P<name>pm_\w+)"
                      r"\((?P<parameters>.*)\)(?:\s*\{.*)?$", re.S)
STRUCT = re.compile(r"typedef struct (?:pm_\w+ )?\{(?P<fields>.*)\} ?(?P<name>pm_\w+)$|"
                    r"struct (?P<tag>pm_\w+) ?\{(?P<tagged>.*)\}$", re.S)
CONSTANT = re.compile(r"#\s*define (?P<name>PM_\w+) +(?P<value>\S.*)$")


def name_line(name, doc):
    """The NAME section's line and the comment without its first sentence."""
    paragraph = doc[: doc.index("")] if "" in doc else doc
    text = " ".join(line.strip() for line in paragraph if line)
    first = re.split(r"(?<=[.:;]) ", text, maxsplit=1)[0]
    summary = first.rstrip(".:;").replace("`", "")
    if summary[:2].istitle() or summary[1:2] == " ":
        summary = summary[0].lower() + summary[1:]
    return f"{name} \\- {summary}"


def sections_of(doc):
    """Splits a comment into the description and a list of (title, roff) for its sections."""
    description, rest, target = [], {}, None
    for line in doc:
        tag = re.match(r"@(param|return)s? +(?:(?<=m )(\w+) +)?(.*)", line)
        heading = re.match(r"#+ (.*)", line)
        safety = re.match(r"Thread safety: (.*)", line)
        if tag:
            title = "PARAMETERS" if tag.group(1) == "param" else "RETURN VALUE"
            target = (title, tag.group(2))
            rest[target] = [tag.group(3)]
        elif safety:
            target = ("THREAD SAFETY", None)
            rest[target] = [safety.group(1)[0].upper() + safety.group(1)[1:]]
        elif heading:
            # rustdoc's "Safety" lists the duties of the caller.
            title = "CAVEATS" if heading.group(1) == "Safety" else heading.group(1).upper()
            target = (title, None)
            rest[target] = []
        elif target is None:
            description.append(line)
        elif line.strip() or not target[0] in ("PARAMETERS", "RETURN VALUE"):
            rest[target].append(line.strip())
        else:
            target = None
    out = {}
    for (title, name), lines in rest.items():
        out.setdefault(title, []).extend(tagged(name, lines, "I") if name else body(lines))
    return description, list(out.items())


def page(name, synopsis, doc, sections, others):
    description, own = sections_of(doc)
    out = [
        '.\\" Written by scripts/man.py from include/pool_metadata.h: change that one, '
        f"then run `{COMMAND}`.",
        f".TH {name.upper()} 3 {DATE} pool-metadata",
        ".SH NAME",
        name_line(name, doc),
        ".SH SYNOPSIS",
        ".nf",
        "\\fB#include <pool_metadata.h>\\fR",
        ".PP",
        *synopsis,
        ".fi",
        ".SH DESCRIPTION",
        *body(description),
    ]
    for title, lines in own + sections:
        out += [f".SH {title}", *lines]
    # Only the functions that the page mentions: the overview lists all of them.
    text = " ".join(doc + synopsis)
    seen = [other for other in others if other != name and re.search(rf"\b{other}\b", text)]
    out += [".SH SEE ALSO", *[f".BR {other} (3)," for other in seen], ".BR pool_metadata (7)"]
    return "\n".join(out) + "\n"


def field_name(declaration):
    return re.search(r"(\w+)(?:\[\w*\])?$", declaration).group(1)


def tagged(term, doc, font="B"):
    # .IP and not .PP between paragraphs: it keeps the indentation.
    text = [".IP" if line == ".PP" else line for line in body(doc)]
    return [".TP", f"\\f{font}{term}\\fR", *(text or ["\\&"])]


def struct_page(match, doc, constants, inline, others):
    name = match.group("name") or match.group("tag")
    fields = [item for item in declarations(match.group("fields") or match.group("tagged"))
              if item.text and not item.text.startswith("#")]
    synopsis = ["\\fBtypedef struct " + name + " {",
                *["    " + field.text + ";" for field in fields],
                "} " + name + ";\\fR"]
    for function, _ in inline:
        synopsis += [".PP", *prototype(function)]
    own = [line for field in fields for line in tagged(field_name(field.text), field.doc)]
    sections = [("FIELDS", own)]
    if inline:
        functions = [tagged(f.group("name") + "()", text) for f, text in inline]
        sections.append(("FUNCTIONS", sum(functions, [])))
    return page(name, synopsis, doc, sections + constant_sections(name, constants), others)


def constant_sections(page_name, constants):
    sections = []
    for owner, title, pattern in CONSTANTS:
        rows = [(c, v, d) for c, v, d in constants if re.match(pattern, c)]
        if owner == page_name and rows:
            sections.append((title, [line for c, v, d in rows for line in tagged(f"{c} ({v})", d)]))
    return sections


def function_page(match, doc, constants, callbacks, others):
    synopsis, sections = prototype(match), []
    for name, (callback, text) in callbacks.items():
        if re.search(rf"\b{name}\b", match.group("parameters")):
            synopsis = ["\\fB" + callback + ";\\fR", ".PP", *synopsis]
            sections.append(("CALLBACK", body(text)))
    sections += constant_sections(match.group("name"), constants)
    return page(match.group("name"), synopsis, doc, sections, others)


def pages():
    constants, callbacks, inline, found = [], {}, [], {}
    for item in declarations(HEADER.read_text()):
        constant = CONSTANT.match(item.text)
        callback = re.match(r"typedef [^{]*\(\*(pm_\w+)\)", item.text)
        match = STRUCT.search(item.text) or FUNCTION.match(item.text)
        if constant:
            value = constant.group("value").strip("() ")
            constants.append((constant.group("name"), value, item.doc))
        elif callback:
            callbacks[callback.group(1)] = (item.text, item.doc)
        elif match and item.doc and item.text.startswith("static"):
            inline.append((match, item.doc))
        elif match and item.doc and not item.text.startswith("enum"):
            found[match.groupdict().get("tag") or match.group("name")] = (match, item.doc)
    out = {}
    for name, (match, doc) in found.items():
        if match.re is STRUCT:
            own = [(f, text) for f, text in inline
                   if re.match(rf"(const )?(struct )?{name} \*", f.group("parameters"))]
            out[name] = struct_page(match, doc, constants, own, found)
            out.update({f.group("name"): f".so man3/{name}.3\n" for f, _ in own})
        else:
            out[name] = function_page(match, doc, constants, callbacks, found)
    return out


def main():
    written = {f"{name}.3": text for name, text in pages().items()}
    listed = (ROOT / "scripts" / "symbols.txt").read_text().split()
    overview = (MAN / "pool_metadata.7").read_text()
    problems = [f"the header has no comment for {name}" for name in listed
                if f"{name}.3" not in written]
    problems += [f"man/pool_metadata.7 does not mention {name}" for name in listed
                 if not re.search(rf"\b{name}\b", overview)]
    if sys.argv[1:] == ["--check"]:
        there = {path.name: path.read_text() for path in MAN.glob("*.3")}
        problems += [f"man/{name} differs from the header; run `{COMMAND}` and commit it"
                     for name in sorted(written.keys() | there.keys())
                     if written.get(name) != there.get(name)]
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
