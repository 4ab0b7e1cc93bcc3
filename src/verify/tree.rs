//! One tree: every page is reached once, is sound, and lies at the depth and within the keys that
//! the pages above give; and its record counts what is there.
//!
//! The branch pages, which are few, are visited one after the other. Their leaves are read and
//! checked by as many threads as there are processors, if there are enough leaves.

use std::cmp::Ordering;
use std::io;
use std::sync::Mutex;

use crate::sync::primitives::unpoisoned;
use crate::verify::branches::{Branch, Branches};
use crate::verify::keys::{Keys, Span};
use crate::verify::page;
use crate::verify::page::{Page, PageKind, Row, Tiles, TreeRecord, Value};
use crate::verify::space::Space;
use crate::verify::violation::{CheckError, Kind, Structure, Violation, Violations};

/// LMDB's cursors go no deeper (`CURSOR_STACK`).
pub(super) const DEEPEST: u16 = 31;
/// With fewer leaves, a second thread costs more than it saves.
const WORTH_A_THREAD: u64 = 256;
/// More threads than this are limited by memory bandwidth.
const MOST_THREADS: usize = 8;
/// The most bytes that are read at once, where pages lie side by side.
const WINDOW: usize = 256 << 10;

/// The check of a tree's rows.
pub(crate) trait Rows: Sync {
    /// What a thread collects from the rows that it sees.
    type Tally: Default + Send;
    const KEYS: Keys;

    /// Checks a row whose key is sound and whose value is where it says.
    fn row(
        &self,
        space: &Space<'_>,
        tally: &mut Self::Tally,
        row: Row<'_>,
    ) -> Result<(), CheckError>;

    /// Whether rows of this kind can be in the tree.
    fn takes(value: &Value<'_>) -> bool {
        !matches!(value, Value::Tree(_))
    }
}

/// The result of a walk over a tree.
pub(crate) struct Walked<T> {
    pub violations: Violations,
    /// One for each thread that took part.
    pub tallies: Vec<T>,
    /// Pages of the tree and of its values.
    pub pages: u64,
}

/// Pages and rows, counted.
#[derive(Clone, Copy, Default)]
pub(super) struct Count {
    leaves: u64,
    pub overflow: u64,
    pub entries: u64,
}

/// Walks the tree that `record` describes.
pub(crate) fn walk<R: Rows>(
    space: &Space<'_>,
    structure: Structure,
    record: &TreeRecord,
    rows: &R,
) -> io::Result<Walked<R::Tally>> {
    let mut walked = Walked {
        violations: Violations::default(),
        tallies: Vec::new(),
        pages: 0,
    };
    let (mut branch_pages, mut count) = (0, Count::default());
    match (record.root, record.depth) {
        (None, 0) => {}
        (Some(root), 1) => {
            let mut worker = Worker::new(space, structure, rows);
            worker.leaves(&[root], &mut |_| Span::default())?;
            worker.end(&mut walked, &mut count);
        }
        (Some(root), depth @ 2..=DEEPEST) => {
            let branches = Branches::new(space, structure, R::KEYS, root, usize::from(depth) - 1);
            let branches = Mutex::new(branches);
            for worker in run(space, structure, rows, &branches, record.leaf_pages)? {
                worker.end(&mut walked, &mut count);
            }
            let branches = unpoisoned(branches.into_inner());
            branch_pages = branches.seen;
            walked.violations.append(branches.violations);
        }
        (_, depth) => {
            let kind = Kind::Count {
                what: "levels",
                recorded: depth.into(),
                found: u64::from(record.root.is_some()),
            };
            walked.violations.add(structure, None, kind);
        }
    }
    walked.pages = branch_pages + count.leaves + count.overflow;
    // If a page was left out, the counts are wrong for that reason alone.
    if walked.violations.is_empty() {
        compare_counts(
            record,
            branch_pages,
            &count,
            structure,
            &mut walked.violations,
        );
    }
    Ok(walked)
}

/// Compares what was counted with what the tree's record says.
fn compare_counts(
    record: &TreeRecord,
    branch_pages: u64,
    count: &Count,
    structure: Structure,
    violations: &mut Violations,
) {
    for (what, recorded, found) in [
        ("branch pages", record.branch_pages, branch_pages),
        ("leaf pages", record.leaf_pages, count.leaves),
        ("overflow pages", record.overflow_pages, count.overflow),
        ("rows", record.entries, count.entries),
    ] {
        if recorded != found {
            let kind = Kind::Count {
                what,
                recorded,
                found,
            };
            violations.add(structure, None, kind);
        }
    }
}

/// Divides the leaves among as many threads as pay off.
fn run<'a, R: Rows>(
    space: &'a Space<'a>,
    structure: Structure,
    rows: &'a R,
    branches: &Mutex<Branches<'_>>,
    leaves: u64,
) -> io::Result<Vec<Worker<'a, R>>> {
    let threads = match leaves {
        ..WORTH_A_THREAD => 1,
        _ => std::thread::available_parallelism().map_or(1, |n| n.get().min(MOST_THREADS)),
    };
    let work = || -> io::Result<Worker<'a, R>> {
        let mut worker = Worker::new(space, structure, rows);
        loop {
            let next = unpoisoned(branches.lock()).next()?;
            match next {
                Some(branch) => worker.branch(&branch)?,
                None => return Ok(worker),
            }
        }
    };
    if threads == 1 {
        // `thread::scope` would allocate a handle for this thread, which the main thread of a C
        // program never frees.
        return Ok(vec![work()?]);
    }
    std::thread::scope(|scope| {
        // If a thread cannot be created, the others do its part.
        let others: Vec<_> = (1..threads)
            .map_while(|_| std::thread::Builder::new().spawn_scoped(scope, work).ok())
            .collect();
        let mut workers = vec![work()?];
        for other in others {
            match other.join() {
                Ok(worker) => workers.push(worker?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(workers)
    })
}

/// The part of one thread.
pub(super) struct Worker<'a, R: Rows> {
    space: &'a Space<'a>,
    structure: Structure,
    rows: &'a R,
    tiles: Tiles,
    window: Vec<u8>,
    count: Count,
    violations: Violations,
    tally: R::Tally,
}

impl<'a, R: Rows> Worker<'a, R> {
    pub fn new(space: &'a Space<'a>, structure: Structure, rows: &'a R) -> Worker<'a, R> {
        Worker {
            space,
            structure,
            rows,
            tiles: Tiles::default(),
            window: Vec::new(),
            count: Count::default(),
            violations: Violations::default(),
            tally: R::Tally::default(),
        }
    }

    fn end(self, walked: &mut Walked<R::Tally>, count: &mut Count) {
        walked.violations.append(self.violations);
        walked.tallies.push(self.tally);
        count.leaves += self.count.leaves;
        count.overflow += self.count.overflow;
        count.entries += self.count.entries;
    }

    /// What its leaves were counted to have, and the first violation in their rows.
    pub fn into_parts(self) -> (R::Tally, Count, Option<Violation>) {
        (
            self.tally,
            self.count,
            self.violations.kept.into_iter().next(),
        )
    }

    fn found(&mut self, page: u64, kind: Kind) {
        self.violations.add(self.structure, Some(page), kind);
    }

    /// Checks the leaves under a branch page.
    fn branch(&mut self, branch: &Branch) -> io::Result<()> {
        let mut numbers = Vec::new();
        if let Ok(page) = Page::parse(&branch.bytes, branch.number) {
            numbers.extend((0..page.nodes()).map_while(|at| Some(page.child(at).ok()?.page)));
        }
        self.leaves(&numbers, &mut |at| {
            branch.child(at).map(|(_, span)| span).unwrap_or_default()
        })
    }

    /// Reads leaves, at once where they lie side by side, and checks each.
    fn leaves(&mut self, numbers: &[u64], span: &mut dyn FnMut(usize) -> Span) -> io::Result<()> {
        let size = self.space.page_size;
        let mut at = 0;
        while let Some(&first) = numbers.get(at) {
            let side_by_side = numbers[at..]
                .iter()
                .zip(first..)
                .take(WINDOW / size)
                .take_while(|(number, expected)| *number == expected)
                .count();
            // Up to the first that must not be read.
            let mut wanted = 0;
            let mut refused = None;
            while wanted < side_by_side && refused.is_none() {
                match self.space.reach(numbers[at + wanted]) {
                    Ok(()) => wanted += 1,
                    Err(kind) => refused = Some(kind),
                }
            }
            let mut window = std::mem::take(&mut self.window);
            window.resize(window.len().max(wanted * size), 0);
            let got = match wanted {
                0 => 0,
                _ => self.space.read_pages(first, &mut window[..wanted * size])?,
            };
            for n in 0..wanted {
                let number = numbers[at + n];
                if n >= got {
                    self.found(number, Kind::PageShort);
                    continue;
                }
                let page = &window[n * size..(n + 1) * size];
                match self.leaf(page, number, &span(at + n)) {
                    Ok(()) => self.count.leaves += 1,
                    Err(CheckError::Violation(kind)) => self.found(number, kind),
                    Err(CheckError::Io(error)) => return Err(error),
                }
            }
            self.window = window;
            at += wanted;
            if let Some(kind) = refused {
                self.found(numbers[at], kind);
                at += 1;
            }
        }
        Ok(())
    }

    /// Checks one leaf and its rows. What is wrong with a row alone is kept.
    pub fn leaf(&mut self, bytes: &[u8], number: u64, span: &Span) -> Result<(), CheckError> {
        let page = Page::parse(bytes, number)?;
        if page.kind() != PageKind::Leaf {
            return Err(Kind::Depth.into());
        }
        if page.nodes() == 0 {
            return Err(Kind::TooFewNodes(0).into());
        }
        page.check_layout(&mut self.tiles)?;
        let mut before: Option<&[u8]> = None;
        for at in 0..page.nodes() {
            let row = page.row(at)?;
            R::KEYS.check_len(at, row.key)?;
            if before.is_some_and(|before| R::KEYS.compare(before, row.key) != Ordering::Less) {
                return Err(Kind::KeyOrder(at).into());
            }
            let too_low =
                |low: &Vec<u8>| before.is_none() && R::KEYS.compare(row.key, low) == Ordering::Less;
            if span.low.as_ref().is_some_and(too_low) {
                return Err(Kind::KeysOutOfSpan.into());
            }
            before = Some(row.key);
            if row.node_len() > page::largest_node(bytes.len()) {
                return Err(Kind::NodeTooLarge(at).into());
            }
            if !R::takes(&row.value) {
                return Err(Kind::WrongValue { node: at }.into());
            }
            if let Value::Far { page, len } = row.value {
                self.count.overflow += self.space.reach_overflow(page, len)?;
            }
            match self.rows.row(self.space, &mut self.tally, row) {
                Err(CheckError::Violation(kind)) => self.found(number, kind),
                done => done?,
            }
            self.count.entries += 1;
        }
        match (before, &span.high) {
            (Some(last), Some(high)) if R::KEYS.compare(last, high) != Ordering::Less => {
                Err(Kind::KeysOutOfSpan.into())
            }
            _ => Ok(()),
        }
    }
}
