//! Texts as roff.

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Whether a text has this name as a word.
pub fn mentions(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + name.len()..].chars().next();
        !before.is_some_and(is_name) && !after.is_some_and(is_name)
    })
}

/// Escapes a text, and makes `code` and the library's own names bold.
fn inline(text: &str) -> String {
    let text = text
        .replace('\\', "\\e")
        .replace('^', "\\(ha")
        .replace('~', "\\(ti");
    let part = |(i, part): (usize, &str)| match i % 2 {
        0 => bold_names(part),
        _ => format!(
            "\\fB{}\\fR",
            part.replace('-', "\\-").replace('\'', "\\(aq")
        ),
    };
    text.split('`').enumerate().map(part).collect()
}

/// Makes names that start with `pm_` or `PM_` bold, `pm_error.code` and `pm_free()` as a whole.
fn bold_names(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = next_name(rest) {
        let end = rest[at..]
            .find(|c| !is_name(c) && c != '.')
            .map_or(rest.len(), |len| at + len);
        let end = rest[..end].trim_end_matches('.').len();
        let end = if rest[end..].starts_with("()") {
            end + 2
        } else {
            end
        };
        out += &format!("{}\\fB{}\\fR", &rest[..at], &rest[at..end]);
        rest = &rest[end..];
    }
    out + rest
}

fn next_name(text: &str) -> Option<usize> {
    let starts = |at: usize| !text[..at].ends_with(is_name);
    let all = text.match_indices("pm_").chain(text.match_indices("PM_"));
    all.map(|(at, _)| at).filter(|at| starts(*at)).min()
}

/// One sentence a line, as roff wants it; no line starts with a control character.
fn sentences(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut rest = text;
    while let Some(at) = rest.find(' ') {
        let (word, after) = (&rest[..at], rest[at..].trim_start());
        let ends = word.ends_with(['.', ':', ';', '!', '?']);
        let starts = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '`';
        if let Some(line) = lines.last_mut() {
            line.push_str(word);
            if !(ends && after.starts_with(starts)) {
                line.push(' ');
            }
        }
        if ends && after.starts_with(starts) {
            lines.push(String::new());
        }
        rest = after;
    }
    if let Some(line) = lines.last_mut() {
        line.push_str(rest);
    }
    let guard = |line: String| match line.starts_with(['.', '\'']) {
        true => format!("\\&{}", inline(&line)),
        false => inline(&line),
    };
    lines.into_iter().map(guard).collect()
}

/// The lines of a comment as roff.
pub fn body<T: AsRef<str>>(lines: &[T]) -> Vec<String> {
    let (mut out, mut paragraph, mut in_list) = (Vec::new(), Vec::new(), false);
    let flush = |out: &mut Vec<String>, paragraph: &mut Vec<String>| {
        if !paragraph.is_empty() {
            out.extend(sentences(&paragraph.join(" ")));
            paragraph.clear();
        }
    };
    for line in lines {
        let line = line.as_ref();
        let text = line.trim();
        if let Some(title) = line.strip_prefix('#') {
            flush(&mut out, &mut paragraph);
            in_list = false;
            out.push(format!(
                ".SH {}",
                title.trim_start_matches(['#', ' ']).to_uppercase()
            ));
        } else if let Some(item) = text.strip_prefix("- ").or(text.strip_prefix("* ")) {
            flush(&mut out, &mut paragraph);
            in_list = true;
            out.push(".IP \\(bu 2".to_owned());
            paragraph.push(item.trim().to_owned());
        } else if text.is_empty() || (in_list && !line.starts_with(' ')) {
            flush(&mut out, &mut paragraph);
            in_list = false;
            out.push(".PP".to_owned());
            paragraph.extend((!text.is_empty()).then(|| text.to_owned()));
        } else {
            paragraph.push(text.to_owned());
        }
    }
    flush(&mut out, &mut paragraph);
    without_empty_paragraphs(&out)
}

/// Drops the paragraph marks at both ends and beside a heading or another mark, which mandoc warns
/// of.
fn without_empty_paragraphs(lines: &[String]) -> Vec<String> {
    let needed = |i: usize| {
        let (before, after) = (i.checked_sub(1).map(|i| &lines[i]), lines.get(i + 1));
        let is_mark = |line: &String| [".SH", ".PP", ".IP"].iter().any(|m| line.starts_with(m));
        before.is_some_and(|line| !line.starts_with(".SH")) && after.is_some_and(|l| !is_mark(l))
    };
    let kept = |(i, line): (usize, &String)| (line != ".PP" || needed(i)).then(|| line.clone());
    lines.iter().enumerate().filter_map(kept).collect()
}

/// A term and what it means.
pub fn tagged<T: AsRef<str>>(term: &str, doc: &[T], font: char) -> Vec<String> {
    let mut out = vec![".TP".to_owned(), format!("\\f{font}{term}\\fR")];
    // .IP and not .PP between paragraphs: it keeps the indentation.
    let text = body(doc).into_iter().map(|line| match line.as_str() {
        ".PP" => ".IP".to_owned(),
        _ => line,
    });
    out.extend(text);
    if out.len() == 2 {
        out.push("\\&".to_owned());
    }
    out
}
