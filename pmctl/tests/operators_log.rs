//! Every line of a log that docs/operators.md quotes is one that is written.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{add, Place};
use pool_metadata::{DeviceState, Error};

/// A line of containerd, which makes it of its own words and the kernel's.
const CONTAINERDS: &str =
    "failed to create new thin device \"containerd-pool-snap-43\" (dev: 17): file exists";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The quotes of the page, each as one line.
fn quotes() -> Vec<String> {
    let page = fs::read_to_string(repository().join("docs/operators.md")).unwrap();
    let mut quotes: Vec<String> = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        match (line.strip_prefix("> "), inside) {
            (None, _) => inside = false,
            (Some(text), true) => {
                let quote = quotes.last_mut().unwrap();
                quote.push(' ');
                quote.push_str(text);
            }
            (Some(text), false) => {
                quotes.push(text.to_owned());
                inside = true;
            }
        }
    }
    quotes
}

/// Messages of the library, of the situations that the page is about.
fn messages() -> Vec<String> {
    let path: Box<Path> = Path::new("/var/lib/containerd/d/containerd-pool.db").into();
    let errors = [
        Error::AlreadyExists {
            name: b"containerd-pool-snap-42"[..].into(),
            device_id: 42,
            state: "Activated",
        },
        Error::Corrupt {
            path: Some(path.clone()),
            what: "x".to_owned(),
        },
        Error::DiskFull {
            path: path.clone(),
            errno: 28,
        },
        Error::Pinned {
            path,
            pid: 4711,
            commits_behind: 120_000,
            age: None,
            held: 2,
            limit: 1,
        },
    ];
    errors.iter().map(Error::to_string).collect()
}

/// What `pmctl reconcile` says of a device that no snapshot has.
fn comparison() -> String {
    let place = Place::with(|store| {
        for n in 1..=42 {
            let name = format!("containerd-pool-snap-{n}");
            add(store, &name, "", 1 << 30, DeviceState::Activated);
        }
    });
    let names: String = (1..42)
        .map(|n| format!("containerd-pool-snap-{n}\n"))
        .collect();
    let arguments = ["reconcile", "-n", "--snapshots", "-"];
    place.run_with(arguments, names.as_bytes()).out
}

/// The texts of the recovery at the start of containerd, with what Go fills in as the page has it.
fn recovery() -> String {
    let directory = repository().join("go-binding/containerd/recovery");
    let files = fs::read_dir(directory).unwrap();
    let paths = files.map(|file| file.unwrap().path());
    let sources = paths.filter(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.ends_with(".go") && !name.ends_with("_test.go")
    });
    let text: String = sources
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    // Long texts are put together of parts.
    text.replace("\"+\n\t\t\"", "")
        .replace("\" +\n\t\t\"", "")
        .replace("the last snapshot, %d,", "the last snapshot, 41,")
        .replace("the pool %s has", "the pool containerd-pool has")
}

#[test]
fn every_line_that_the_operators_page_quotes_is_written() {
    let quotes = quotes();
    assert!(quotes.len() >= 9, "{quotes:?}");
    let mut written = messages();
    written.extend([comparison(), recovery(), CONTAINERDS.to_owned()]);
    for quote in &quotes {
        // Each part between dots, in this order, in one of them.
        let parts = || {
            quote
                .split("...")
                .map(|part| part.trim_matches([':', ' ']))
                .filter(|part| !part.is_empty())
        };
        let parts = || parts().filter(|part| !part.starts_with("failed to load plugin"));
        let is_in = |text: &String| {
            let mut rest = text.as_str();
            parts().all(|part| match rest.find(part) {
                Some(at) => {
                    rest = &rest[at + part.len()..];
                    true
                }
                None => false,
            })
        };
        assert!(written.iter().any(is_in), "nothing writes: {quote}");
    }
}
