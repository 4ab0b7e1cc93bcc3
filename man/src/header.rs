//! The declarations of the header, with their comments.

/// What the header declares, in its order.
#[derive(Default)]
pub struct Header {
    pub topics: Vec<Topic>,
    pub constants: Vec<Constant>,
    pub callbacks: Vec<Callback>,
    pub inline: Vec<Function>,
    /// Functions without a comment, and comments with a tag that does not start its line.
    pub problems: Vec<String>,
}

/// What gets a page.
pub enum Topic {
    Struct(Struct),
    Function(Function),
}

pub struct Struct {
    pub name: String,
    pub fields: Vec<Field>,
    pub doc: Vec<String>,
}

pub struct Field {
    pub declaration: String,
    pub name: String,
    pub doc: Vec<String>,
}

pub struct Function {
    pub returns: String,
    pub name: String,
    pub parameters: String,
    pub doc: Vec<String>,
}

pub struct Constant {
    pub name: String,
    pub value: String,
    pub doc: Vec<String>,
}

pub struct Callback {
    pub name: String,
    pub declaration: String,
    pub doc: Vec<String>,
}

impl Topic {
    pub fn name(&self) -> &str {
        match self {
            Topic::Struct(one) => &one.name,
            Topic::Function(one) => &one.name,
        }
    }
}

impl Header {
    /// The names of the functions that the library exports.
    pub fn functions(&self) -> impl Iterator<Item = &str> {
        self.topics.iter().filter_map(|topic| match topic {
            Topic::Function(function) => Some(function.name.as_str()),
            Topic::Struct(_) => None,
        })
    }
}

/// Reads the header as cbindgen writes it.
pub fn parse(source: &str) -> Header {
    let mut header = Header::default();
    for item in items(source) {
        header.add(item);
    }
    header
}

impl Header {
    fn add(&mut self, item: Item) {
        let text = words(&item.text);
        let misplaced = |line: &&String| line.contains(" @param ") || line.contains(" @return ");
        if let Some(line) = item.doc.iter().find(misplaced) {
            self.problems
                .push(format!("a tag must start its line: {line}"));
        }
        if let Some(definition) = text.strip_prefix('#') {
            self.constants.extend(constant(definition, item.doc));
        } else if let Some(name) = callback_name(&text) {
            self.callbacks.push(Callback {
                name,
                declaration: text,
                doc: item.doc,
            });
        } else if text.contains("struct") && text.contains('{') && text.ends_with(name_end) {
            self.topics.extend(structure(item).map(Topic::Struct));
        } else if let Some(rest) = text.strip_prefix("static inline ") {
            let doc = if item.doc.is_empty() {
                item.note
            } else {
                item.doc
            };
            self.inline.extend(function(rest, doc));
        } else if let Some(function) = function(&text, item.doc) {
            if function.doc.is_empty() {
                self.problems
                    .push(format!("{} has no comment", function.name));
            } else {
                self.topics.push(Topic::Function(function));
            }
        }
    }
}

/// One declaration at the top level, without its semicolon.
struct Item {
    /// Comments on what is inside of it are still there.
    text: String,
    doc: Vec<String>,
    /// The ordinary comment before it.
    note: Vec<String>,
}

/// Splits a text at its top level.
fn items(source: &str) -> Vec<Item> {
    let mut found = Vec::new();
    let (mut doc, mut note, mut code) = (Vec::new(), Vec::new(), String::new());
    let mut depth = 0;
    let mut rest = source;
    while let Some(next) = rest.chars().next() {
        let len = token_len(rest, code.ends_with('\n') || code.is_empty());
        let (token, after) = rest.split_at(len);
        rest = after;
        if token.starts_with("/**") {
            if depth > 0 {
                code.push_str(token);
            } else {
                doc = comment_lines(token);
            }
        } else if token.starts_with("/*") && depth == 0 {
            note = comment_lines(token);
        } else if token.starts_with('#') && depth == 0 {
            let text = token.replace("\\\n", " ");
            let doc = std::mem::take(&mut doc);
            found.push(Item {
                text,
                doc,
                note: Vec::new(),
            });
            code.clear();
        } else if !token.starts_with("//") && !token.starts_with("/*") && !token.starts_with('#') {
            code.push_str(token);
            depth += i32::from(next == '{') - i32::from(next == '}');
            let inline_end = next == '}' && code.trim_start().starts_with("static");
            if depth == 0 && (next == ';' || inline_end) {
                found.push(Item {
                    text: code.trim().trim_end_matches(';').to_owned(),
                    doc: std::mem::take(&mut doc),
                    note: std::mem::take(&mut note),
                });
                code.clear();
            } else if matches!(code.trim(), "extern \"C\" {" | "}") {
                (doc, code, depth) = (Vec::new(), String::new(), 0);
            }
        }
    }
    found
}

/// The length of the comment, directive, string or character that a text begins with.
fn token_len(text: &str, at_line_start: bool) -> usize {
    let up_to = |end: &str| text.find(end).map_or(text.len(), |at| at + end.len());
    if text.starts_with("/*") {
        return up_to("*/");
    }
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with('#') && at_line_start {
        let mut len = 0;
        for line in text.split_inclusive('\n') {
            len += line.len();
            if !line.ends_with("\\\n") {
                break;
            }
        }
        return len;
    }
    if let Some(string) = text.strip_prefix('"') {
        return string.find('"').map_or(text.len(), |at| at + 2);
    }
    text.chars().next().map_or(0, char::len_utf8)
}

/// The lines of a comment without its decoration.
fn comment_lines(comment: &str) -> Vec<String> {
    let text = comment.trim_start_matches('/').trim_start_matches('*');
    let text = text.strip_suffix("*/").unwrap_or(text);
    let line = |line: &str| {
        let inner = line.trim_start();
        let inner = inner.strip_prefix('*').unwrap_or(line);
        inner
            .strip_prefix(' ')
            .unwrap_or(inner)
            .trim_end()
            .to_owned()
    };
    let lines: Vec<String> = text.lines().map(line).collect();
    let is_text = |line: &String| !line.trim().is_empty();
    let first = lines.iter().position(is_text).unwrap_or(lines.len());
    let end = lines
        .iter()
        .rposition(is_text)
        .map_or(first, |last| last + 1);
    let mut lines = lines[first..end].to_vec();
    if let Some(first) = lines.first_mut() {
        *first = first.trim().to_owned();
    }
    lines
}

/// The text with each run of white space as one space, without comments.
fn words(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("/**") {
        code.push_str(&rest[..start]);
        rest = rest[start..]
            .split_once("*/")
            .map_or("", |(_, after)| after);
    }
    code.push_str(rest);
    code.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn name_end(c: char) -> bool {
    is_name(c) || c == '}'
}

/// The name at the end of a text.
fn last_name(text: &str) -> &str {
    let start = text.rfind(|c| !is_name(c)).map_or(0, |at| at + 1);
    &text[start..]
}

/// The name at the start of a text.
fn first_name(text: &str) -> &str {
    let end = text.find(|c| !is_name(c)).unwrap_or(text.len());
    &text[..end]
}

fn constant(definition: &str, doc: Vec<String>) -> Option<Constant> {
    let definition = definition.trim_start().strip_prefix("define ")?;
    let (name, value) = definition.split_once(' ')?;
    (name.starts_with("PM_") && name.chars().all(is_name)).then(|| Constant {
        name: name.to_owned(),
        value: value.trim_matches(['(', ')', ' ']).to_owned(),
        doc,
    })
}

fn callback_name(text: &str) -> Option<String> {
    let declarator = text.strip_prefix("typedef ")?.split_once("(*")?.1;
    (!text.contains('{')).then(|| first_name(declarator).to_owned())
}

/// The struct, if it has a comment.
fn structure(item: Item) -> Option<Struct> {
    let (open, close) = (item.text.find('{')?, item.text.rfind('}')?);
    let tag = item.text[..open].split_whitespace().last()?;
    let typedef = item.text[close + 1..].trim();
    let name = if typedef.is_empty() { tag } else { typedef };
    if item.doc.is_empty() || !name.starts_with("pm_") {
        return None;
    }
    let field = |field: Item| {
        let declaration = words(&field.text);
        let name = last_name(
            declaration
                .trim_end_matches(|c| c != '[')
                .trim_end_matches('['),
        );
        let name = if name.is_empty() {
            last_name(&declaration)
        } else {
            name
        };
        (!declaration.is_empty()).then(|| Field {
            name: name.to_owned(),
            declaration: declaration.clone(),
            doc: field.doc,
        })
    };
    Some(Struct {
        name: name.to_owned(),
        fields: items(&item.text[open + 1..close])
            .into_iter()
            .filter_map(field)
            .collect(),
        doc: item.doc,
    })
}

fn function(text: &str, doc: Vec<String>) -> Option<Function> {
    let text = text.split_once(" {").map_or(text, |(head, _body)| head);
    let (head, parameters) = text.strip_suffix(')')?.split_once('(')?;
    let name = last_name(head);
    name.starts_with("pm_").then(|| Function {
        returns: head[..head.len() - name.len()].trim().to_owned(),
        name: name.to_owned(),
        parameters: parameters.to_owned(),
        doc,
    })
}
