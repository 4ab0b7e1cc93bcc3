//! Writes the manual pages in section 3 from the comments of the C header, so that both say the
//! same: `pool-metadata-man HEADER OVERVIEW DIRECTORY`.
//!
//! Every documented function and struct gets a page. Constants go to the page of the struct that
//! uses them, callbacks to that of the function that takes them, inline functions to that of their
//! struct. In a comment, blank lines separate paragraphs, "- " starts a list item, "@param" and
//! "@return" mean what they mean in doxygen, "Thread safety:" and "# Title" start a section, and
//! `backticks` mark code.
//!
//! It fails if a function has no comment, a tag does not start its line, or the overview (section
//! 7) does not mention a function.

mod header;
mod page;
mod roff;

use std::error::Error;
use std::fs;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [header, overview, directory] = arguments.as_slice() else {
        return Err("usage: pool-metadata-man HEADER OVERVIEW DIRECTORY".into());
    };
    let header = header::parse(&fs::read_to_string(header)?);
    let overview = fs::read_to_string(overview)?;
    if let Some(problem) = header.problems.first() {
        return Err(format!("include/pool_metadata.h: {problem}").into());
    }
    let pages = page::all(&header);
    for function in header.functions() {
        if !roff::mentions(&overview, function) {
            return Err(format!("man/pool_metadata.7 does not mention {function}").into());
        }
    }
    write_pages(Path::new(directory), &pages)?;
    Ok(())
}

/// Replaces all pages in the directory.
fn write_pages(directory: &Path, pages: &[(String, String)]) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(directory)?;
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "3") {
            fs::remove_file(path)?;
        }
    }
    for (name, text) in pages {
        fs::write(directory.join(format!("{name}.3")), text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
