//! The pages.

use crate::header::{Function, Header, Struct, Topic};
use crate::roff::{body, mentions, tagged};

const DATE: &str = "2026-11-29";

/// Constants by their prefix: whose page lists them, and under which heading.
const CONSTANTS: [(&str, &str, &[&str]); 9] = [
    ("pm_error", "STATUS CODES", &["PM_OK", "PM_ERR_"]),
    ("pm_device", "STATES", &["PM_STATE_"]),
    ("pm_options", "FLAGS", &["PM_OPEN_"]),
    ("pm_options", "VERIFICATION", &["PM_VERIFY_"]),
    ("pm_options", "DURABILITY", &["PM_DURABILITY_"]),
    ("pm_backup", "FLAGS", &["PM_BACKUP_"]),
    ("pm_finding", "KINDS", &["PM_FINDING_"]),
    ("pm_finding", "WHAT FIXES THEM", &["PM_FIX_"]),
    ("pm_repair_options", "FLAGS", &["PM_REPAIR_DRY_RUN"]),
];

type Section = (String, Vec<String>);

/// Every page by its name, without the section's number.
pub fn all(header: &Header) -> Vec<(String, String)> {
    let mut pages = Vec::new();
    for topic in &header.topics {
        match topic {
            Topic::Struct(one) => {
                pages.push((one.name.clone(), struct_page(header, one)));
                let link = format!(".so man3/{}.3\n", one.name);
                pages.extend(inline_of(header, one).map(|f| (f.name.clone(), link.clone())));
            }
            Topic::Function(one) => pages.push((one.name.clone(), function_page(header, one))),
        }
    }
    pages
}

/// The inline functions whose first parameter is the struct.
fn inline_of<'h>(header: &'h Header, one: &'h Struct) -> impl Iterator<Item = &'h Function> {
    header.inline.iter().filter(|function| {
        let first = function.parameters.trim_start_matches("const ");
        let first = first.trim_start_matches("struct ");
        first
            .strip_prefix(&one.name)
            .is_some_and(|rest| rest.starts_with(" *"))
    })
}

fn struct_page(header: &Header, one: &Struct) -> String {
    let mut synopsis = vec![format!("\\fBtypedef struct {} {{", one.name)];
    synopsis.extend(
        one.fields
            .iter()
            .map(|field| format!("    {};", field.declaration)),
    );
    synopsis.push(format!("}} {};\\fR", one.name));
    let fields = one
        .fields
        .iter()
        .flat_map(|field| tagged(&field.name, &field.doc, 'B'));
    let mut sections = vec![("FIELDS".to_owned(), fields.collect())];
    let mut functions = Vec::new();
    for function in inline_of(header, one) {
        synopsis.push(".PP".to_owned());
        synopsis.extend(prototype(function));
        functions.extend(tagged(&format!("{}()", function.name), &function.doc, 'B'));
    }
    if !functions.is_empty() {
        sections.push(("FUNCTIONS".to_owned(), functions));
    }
    sections.extend(constant_sections(header, &one.name));
    page(header, &one.name, &synopsis, &one.doc, sections)
}

fn function_page(header: &Header, one: &Function) -> String {
    let mut synopsis = Vec::new();
    let mut sections = Vec::new();
    for callback in &header.callbacks {
        if mentions(&one.parameters, &callback.name) {
            synopsis.push(format!("\\fB{};\\fR", callback.declaration));
            synopsis.push(".PP".to_owned());
            sections.push(("CALLBACK".to_owned(), body(&callback.doc)));
        }
    }
    synopsis.extend(prototype(one));
    sections.extend(constant_sections(header, &one.name));
    page(header, &one.name, &synopsis, &one.doc, sections)
}

fn constant_sections(header: &Header, page: &str) -> Vec<Section> {
    let mut sections = Vec::new();
    for (owner, title, prefixes) in CONSTANTS {
        if owner == page {
            let own = |name: &str| prefixes.iter().any(|prefix| name.starts_with(prefix));
            let constants = header
                .constants
                .iter()
                .filter(|constant| own(&constant.name));
            let lines = constants.flat_map(|constant| {
                let term = format!("{} ({})", constant.name, constant.value);
                tagged(&term, &constant.doc, 'B')
            });
            sections.push((title.to_owned(), lines.collect()));
        }
    }
    sections
}

fn page(
    header: &Header,
    name: &str,
    synopsis: &[String],
    doc: &[String],
    more: Vec<Section>,
) -> String {
    let (description, sections) = sections_of(doc);
    let mut out = vec![
        ".\\\" Written by `make man` from include/pool_metadata.h.".to_owned(),
        format!(".TH {} 3 {DATE} pool-metadata", name.to_uppercase()),
        ".SH NAME".to_owned(),
        format!("{name} \\- {}", summary(doc)),
        ".SH SYNOPSIS".to_owned(),
        ".nf".to_owned(),
        "\\fB#include <pool_metadata.h>\\fR".to_owned(),
        ".PP".to_owned(),
    ];
    out.extend_from_slice(synopsis);
    out.extend([".fi".to_owned(), ".SH DESCRIPTION".to_owned()]);
    out.extend(body(&description));
    for (title, lines) in sections.into_iter().chain(more) {
        out.push(format!(".SH {title}"));
        out.extend(lines);
    }
    // Only what the page mentions: the overview lists everything.
    let text = format!("{} {}", doc.join(" "), synopsis.join(" "));
    out.push(".SH SEE ALSO".to_owned());
    let others = header.topics.iter().map(Topic::name);
    let seen = others.filter(|other| *other != name && mentions(&text, other));
    out.extend(seen.map(|other| format!(".BR {other} (3),")));
    out.push(".BR pool_metadata (7)\n".to_owned());
    out.join("\n")
}

/// The first sentence of a comment, as the NAME section wants it.
fn summary(doc: &[String]) -> String {
    let paragraph: Vec<&str> = doc
        .iter()
        .map(|line| line.trim())
        .take_while(|l| !l.is_empty())
        .collect();
    let text = paragraph.join(" ");
    let end = [". ", ": ", "; "]
        .iter()
        .filter_map(|end| text.find(end))
        .min();
    let first = text[..end.unwrap_or(text.len())]
        .trim_end_matches(['.', ':', ';'])
        .replace('`', "");
    let mut letters = first.chars();
    match (letters.next(), letters.next()) {
        (Some(a), Some(b)) if a.is_uppercase() && (b.is_lowercase() || b == ' ') => {
            format!("{}{}", a.to_lowercase(), &first[a.len_utf8()..])
        }
        _ => first,
    }
}

/// Splits a comment into the description and its sections.
fn sections_of(doc: &[String]) -> (Vec<String>, Vec<Section>) {
    let mut description: Vec<String> = Vec::new();
    // The title, the parameter if it is one's, and the lines.
    let mut parts: Vec<(String, Option<String>, Vec<String>)> = Vec::new();
    let mut in_part = false;
    for line in doc {
        let mut start = |title: &str, parameter: Option<&str>, line: Option<String>| {
            parts.push((
                title.to_owned(),
                parameter.map(str::to_owned),
                line.into_iter().collect(),
            ));
            in_part = true;
        };
        if let Some(rest) = line.strip_prefix("@param ") {
            let (name, rest) = rest.trim_start().split_once(' ').unwrap_or((rest, ""));
            start("PARAMETERS", Some(name), Some(rest.trim_start().to_owned()));
        } else if let Some(rest) = line.strip_prefix("@return ") {
            start("RETURN VALUE", None, Some(rest.trim_start().to_owned()));
        } else if let Some(rest) = line.strip_prefix("Thread safety: ") {
            start("THREAD SAFETY", None, Some(capitalised(rest)));
        } else if let Some(title) = line.strip_prefix("# ") {
            // rustdoc's "Safety" lists the duties of the caller.
            let title = if title == "Safety" { "CAVEATS" } else { title };
            start(&title.to_uppercase(), None, None);
        } else if let (true, Some((title, _, lines))) = (in_part, parts.last_mut()) {
            if line.trim().is_empty() && matches!(title.as_str(), "PARAMETERS" | "RETURN VALUE") {
                in_part = false;
            } else {
                lines.push(line.trim().to_owned());
            }
        } else {
            description.push(line.clone());
        }
    }
    let mut sections: Vec<Section> = Vec::new();
    for (title, parameter, lines) in parts {
        let lines = match parameter {
            Some(parameter) => tagged(&parameter, &lines, 'I'),
            None => body(&lines),
        };
        match sections.iter_mut().find(|section| section.0 == title) {
            Some(section) => section.1.extend(lines),
            None => sections.push((title, lines)),
        }
    }
    (description, sections)
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

/// A function's declaration over lines of at most 78 columns, the names of parameters in italics.
fn prototype(function: &Function) -> Vec<String> {
    const WIDTH: usize = 78;
    let returns = format!("{} ", function.returns).replace("* ", "*");
    let head = format!("{returns}{}(", function.name);
    let parameters = split_parameters(&function.parameters);
    let mut lines = Vec::new();
    // The text, and its width without the changes of the font.
    let (mut line, mut width) = (head.clone(), head.len());
    for (i, parameter) in parameters.iter().enumerate() {
        let end = if i + 1 == parameters.len() { ");" } else { "," };
        let piece = format!("{}{end}", italic_name(parameter));
        let len = parameter.len() + end.len();
        if i > 0 && width + 1 + len > WIDTH {
            lines.push(std::mem::take(&mut line));
            line = " ".repeat(head.len().min(8));
            width = line.len();
        } else if i > 0 {
            line.push(' ');
            width += 1;
        }
        line.push_str(&piece);
        width += len;
    }
    lines.push(line);
    lines
        .into_iter()
        .map(|line| format!("\\fB{line}\\fR"))
        .collect()
}

/// Splits at the commas that are not inside a callback's own parameters.
fn split_parameters(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in text.char_indices() {
        depth += i32::from(c == '(') - i32::from(c == ')');
        if c == ',' && depth == 0 {
            parts.push(text[start..at].trim());
            start = at + 1;
        }
    }
    parts.push(text[start..].trim());
    parts
}

/// The parameter with its name, after a space or a star, in italics.
fn italic_name(parameter: &str) -> String {
    match parameter.rfind([' ', '*']) {
        Some(at) => format!("{}\\fI{}\\fB", &parameter[..=at], &parameter[at + 1..]),
        None => parameter.to_owned(),
    }
}
