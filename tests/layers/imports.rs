//! Reads source files for what they import.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::Path;

/// The text of each file, by the module that it is.
pub type Sources = BTreeMap<String, String>;

/// A path to another module of this crate, to LMDB's crates, or the name of a C function of LMDB's.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Import {
    pub from: String,
    pub path: String,
}

impl fmt::Display for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = if self.path.starts_with("::") {
            ""
        } else {
            "crate::"
        };
        write!(f, "{} imports {own}{}", self.from, self.path)
    }
}

/// Reads the imports of one file.
struct Reader<'a> {
    sources: &'a Sources,
    file: &'a str,
    found: BTreeSet<Import>,
}

impl Reader<'_> {
    /// Reads `use` items and the paths of everything else, in macros as well. `module` is where the
    /// tokens are: a module of the file has no file of its own.
    fn read(&mut self, tokens: &[TokenTree], module: &str) {
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Ident(word) if word == "use" => {
                    let rest = &tokens[at + 1..];
                    let len = rest.iter().take_while(|token| !is(token, ';')).count();
                    self.tree(&rest[..len], &[], module);
                    at += len;
                }
                TokenTree::Ident(word) if word == "pub" => {
                    // What is in the parentheses of `pub(in crate::x)` is no import.
                    at += usize::from(matches!(tokens.get(at + 1), Some(TokenTree::Group(_))));
                }
                TokenTree::Ident(word) if word == "mod" => {
                    if let [TokenTree::Ident(name), TokenTree::Group(body), ..] = &tokens[at + 1..]
                    {
                        let inner: Vec<_> = body.stream().into_iter().collect();
                        self.read(&inner, &join(module, &[name.to_string()]));
                        at += 2;
                    }
                }
                TokenTree::Ident(_) if at == 0 || !is(&tokens[at - 1], ':') => {
                    let path = path(&tokens[at..]);
                    at += 3 * (path.len() - 1);
                    if path.len() > 1 || path[0].starts_with("mdb_") {
                        self.take(&path, module);
                    }
                }
                TokenTree::Group(group) => {
                    let inner: Vec<_> = group.stream().into_iter().collect();
                    self.read(&inner, module);
                }
                _ => {}
            }
            at += 1;
        }
    }

    /// Reads what a `use` names: `a::b`, `a::{b, c::d}`, `a::*`, `a::b as c`.
    fn tree(&mut self, tokens: &[TokenTree], prefix: &[String], module: &str) {
        for branch in tokens.split(|token| is(token, ',')) {
            let mut whole = prefix.to_vec();
            for token in branch {
                match token {
                    TokenTree::Ident(word) if word == "as" => break,
                    TokenTree::Ident(word) => whole.push(word.to_string()),
                    TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                        let inner: Vec<_> = group.stream().into_iter().collect();
                        self.tree(&inner, &whole, module);
                        whole.clear();
                    }
                    _ => {}
                }
            }
            if !whole.is_empty() {
                self.take(&whole, module);
            }
        }
    }

    /// Notes a path unless it stays in the file or leaves the crate for another than LMDB's.
    fn take(&mut self, path: &[String], module: &str) {
        let mut base = module.to_owned();
        let mut rest = path;
        while let [first, after @ ..] = rest {
            match first.as_str() {
                "crate" => base = "lib".to_owned(),
                "super" => base = parent(&base),
                "self" => {}
                _ => break,
            }
            rest = after;
        }
        let first = &path[0];
        let name = path.last().unwrap();
        if name.starts_with("mdb_") || first == "lmdb_sys" {
            self.note(format!("::lmdb_sys::{name}"));
        } else if rest.len() < path.len() || is_child(self.sources, module, path) {
            self.note(join(&base, rest));
        } else if first == "lmdb" {
            self.note(format!("::{}", path.join("::")));
        }
    }

    fn note(&mut self, path: String) {
        if file_of(self.sources, &path) != self.file {
            self.found.insert(Import {
                from: self.file.to_owned(),
                path,
            });
        }
    }
}

fn is(token: &TokenTree, mark: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == mark)
}

/// The words of the path that begins here, which has at least one.
fn path(tokens: &[TokenTree]) -> Vec<String> {
    let mut path = vec![tokens[0].to_string()];
    let mut rest = &tokens[1..];
    while let [colon, other, TokenTree::Ident(word), after @ ..] = rest {
        if !is(colon, ':') || !is(other, ':') {
            break;
        }
        path.push(word.to_string());
        rest = after;
    }
    path
}

fn join(base: &str, rest: &[String]) -> String {
    let base = Some(base.to_owned()).filter(|base| base != "lib");
    let words: Vec<String> = base.into_iter().chain(rest.iter().cloned()).collect();
    match words.is_empty() {
        true => "lib".to_owned(),
        false => words.join("::"),
    }
}

fn parent(module: &str) -> String {
    module
        .rsplit_once("::")
        .map_or("lib", |(up, _)| up)
        .to_owned()
}

/// Whether the path begins with a module that is declared here.
fn is_child(sources: &Sources, module: &str, path: &[String]) -> bool {
    sources.contains_key(&join(module, &path[..1]))
}

/// The module with a file of its own that has the item of that path.
pub fn file_of(sources: &Sources, path: &str) -> String {
    let mut module = path.to_owned();
    while !sources.contains_key(&module) && module != "lib" && !module.is_empty() {
        module = parent(&module);
    }
    module
}

/// All imports of these files.
pub fn imports(sources: &Sources) -> BTreeSet<Import> {
    let mut found = BTreeSet::new();
    for (file, text) in sources {
        let tokens: TokenStream = text.parse().unwrap_or_else(|e| panic!("{file}: {e}"));
        let tokens: Vec<_> = tokens.into_iter().collect();
        let mut reader = Reader {
            sources,
            file,
            found,
        };
        reader.read(&tokens, file);
        found = reader.found;
    }
    found
}

/// The files below that directory, which has a lib.rs.
pub fn read_files(directory: &Path) -> Sources {
    let mut sources = Sources::new();
    add_files(&mut sources, directory, "lib");
    sources
}

fn add_files(sources: &mut Sources, directory: &Path, prefix: &str) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let module = match name {
            "lib" | "mod" => prefix.to_owned(),
            _ => join(prefix, &[name.to_owned()]),
        };
        if path.is_dir() {
            add_files(sources, &path, &module);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.insert(module, fs::read_to_string(&path).unwrap());
        }
    }
}
