//! One tree: every page is reached once, is sound, and lies at the depth and between the keys that
//! the pages above name; and its record counts what is there.
//!
//! Branch pages are gone through one after the other, which are few. Their leaves are read and
//! looked at by as many threads as there are processors, if there are enough of them.

use std::cmp::Ordering;
use std::io;
use std::sync::Mutex;

use crate::sync::primitives::unpoisoned;
use crate::verify::branches::{Branch, Branches};
use crate::verify::finding::{Findings, Place, Problem};
use crate::verify::keys::{Keys, Span};
use crate::verify::page;
use crate::verify::page::{Flaw, Kind, Page, Row, Tiles, TreeRecord, Value};
use crate::verify::space::{Space, Trouble};

/// LMDB's cursors go no deeper (`CURSOR_STACK`).
const DEEPEST: u16 = 31;
/// With fewer leaves, a thread costs more than it saves.
const WORTH_A_THREAD: u64 = 256;
/// More threads than this would wait for memory.
const MOST_THREADS: usize = 8;
/// Bytes that are read at once where pages lie side by side.
const WINDOW: usize = 256 << 10;

/// What is done with the rows of a tree.
pub(crate) trait Rows: Sync {
    /// What a thread gathers from the rows that it sees.
    type Tally: Default + Send;
    const KEYS: Keys;

    /// Looks at a row whose key is sound and whose value is where it says.
    fn row(&self, space: &Space<'_>, tally: &mut Self::Tally, row: Row<'_>) -> Result<(), Trouble>;

    /// Whether rows of this kind can be in the tree.
    fn takes(value: &Value<'_>) -> bool {
        !matches!(value, Value::Tree(_))
    }
}

/// What a tree turned out to be.
pub(crate) struct Walked<T> {
    pub findings: Findings,
    /// One for each thread that took part.
    pub tallies: Vec<T>,
    /// Pages of the tree and of its values.
    pub pages: u64,
}

/// Pages and rows, counted.
#[derive(Clone, Copy, Default)]
struct Count {
    leaves: u64,
    overflow: u64,
    entries: u64,
}

/// Walks the tree that `record` describes.
pub(crate) fn walk<R: Rows>(
    space: &Space<'_>,
    place: Place,
    record: &TreeRecord,
    rows: &R,
) -> io::Result<Walked<R::Tally>> {
    let mut walked = Walked {
        findings: Findings::default(),
        tallies: Vec::new(),
        pages: 0,
    };
    let (mut branch_pages, mut count) = (0, Count::default());
    match (record.root, record.depth) {
        (None, 0) => {}
        (Some(root), 1) => {
            let mut worker = Worker::new(space, place, rows);
            worker.leaves(&[root], &mut |_| Span::default())?;
            worker.end(&mut walked, &mut count);
        }
        (Some(root), depth @ 2..=DEEPEST) => {
            let branches = Branches::new(space, place, R::KEYS, root, usize::from(depth) - 1);
            let branches = Mutex::new(branches);
            for worker in run(space, place, rows, &branches, record.leaf_pages)? {
                worker.end(&mut walked, &mut count);
            }
            let branches = unpoisoned(branches.into_inner());
            branch_pages = branches.seen;
            walked.findings.append(branches.findings);
        }
        (_, depth) => {
            let problem = Problem::Count {
                what: "levels",
                said: depth.into(),
                found: u64::from(record.root.is_some()),
            };
            walked.findings.add(place, None, problem);
        }
    }
    walked.pages = branch_pages + count.leaves + count.overflow;
    // Where something was left out, the numbers tell nothing more.
    if walked.findings.is_empty() {
        for (what, said, found) in [
            ("branch pages", record.branch_pages, branch_pages),
            ("leaf pages", record.leaf_pages, count.leaves),
            ("overflow pages", record.overflow_pages, count.overflow),
            ("rows", record.entries, count.entries),
        ] {
            if said != found {
                let problem = Problem::Count { what, said, found };
                walked.findings.add(place, None, problem);
            }
        }
    }
    Ok(walked)
}

/// Has as many workers as are worth it share the leaves.
fn run<'a, R: Rows>(
    space: &'a Space<'a>,
    place: Place,
    rows: &'a R,
    branches: &Mutex<Branches<'_>>,
    leaves: u64,
) -> io::Result<Vec<Worker<'a, R>>> {
    let threads = match leaves {
        ..WORTH_A_THREAD => 1,
        _ => std::thread::available_parallelism().map_or(1, |n| n.get().min(MOST_THREADS)),
    };
    let work = || -> io::Result<Worker<'a, R>> {
        let mut worker = Worker::new(space, place, rows);
        loop {
            let next = unpoisoned(branches.lock()).next()?;
            match next {
                Some(branch) => worker.branch(&branch)?,
                None => return Ok(worker),
            }
        }
    };
    if threads == 1 {
        // `thread::scope` would make this thread a handle of Rust's, which a C program's main
        // thread never frees.
        return Ok(vec![work()?]);
    }
    std::thread::scope(|scope| {
        // A thread that cannot be had is one less: this one does what the others do.
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

/// One thread's part.
struct Worker<'a, R: Rows> {
    space: &'a Space<'a>,
    place: Place,
    rows: &'a R,
    tiles: Tiles,
    window: Vec<u8>,
    count: Count,
    findings: Findings,
    tally: R::Tally,
}

impl<'a, R: Rows> Worker<'a, R> {
    fn new(space: &'a Space<'a>, place: Place, rows: &'a R) -> Worker<'a, R> {
        Worker {
            space,
            place,
            rows,
            tiles: Tiles::default(),
            window: Vec::new(),
            count: Count::default(),
            findings: Findings::default(),
            tally: R::Tally::default(),
        }
    }

    fn end(self, walked: &mut Walked<R::Tally>, count: &mut Count) {
        walked.findings.append(self.findings);
        walked.tallies.push(self.tally);
        count.leaves += self.count.leaves;
        count.overflow += self.count.overflow;
        count.entries += self.count.entries;
    }

    fn found(&mut self, page: u64, problem: Problem) {
        self.findings.add(self.place, Some(page), problem);
    }

    /// The leaves under a branch page.
    fn branch(&mut self, branch: &Branch) -> io::Result<()> {
        let mut numbers = Vec::new();
        if let Ok(page) = Page::parse(&branch.bytes, branch.number) {
            numbers.extend((0..page.nodes()).map_while(|at| Some(page.child(at).ok()?.page)));
        }
        self.leaves(&numbers, &mut |at| {
            branch.child(at).map(|(_, span)| span).unwrap_or_default()
        })
    }

    /// Reads leaves, those that lie side by side at once, and checks each.
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
            // Up to the first that is not to be read.
            let mut wanted = 0;
            let mut refused = None;
            while wanted < side_by_side && refused.is_none() {
                match self.space.reach(numbers[at + wanted]) {
                    Ok(()) => wanted += 1,
                    Err(problem) => refused = Some(problem),
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
                    self.found(number, Problem::Page(Flaw::Short));
                    continue;
                }
                let page = &window[n * size..(n + 1) * size];
                match self.leaf(page, number, &span(at + n)) {
                    Ok(()) => self.count.leaves += 1,
                    Err(Trouble::Found(problem)) => self.found(number, problem),
                    Err(Trouble::Io(error)) => return Err(error),
                }
            }
            self.window = window;
            at += wanted;
            if let Some(problem) = refused {
                self.found(numbers[at], problem);
                at += 1;
            }
        }
        Ok(())
    }

    fn leaf(&mut self, bytes: &[u8], number: u64, span: &Span) -> Result<(), Trouble> {
        let page = Page::parse(bytes, number).map_err(Problem::Page)?;
        if page.kind() != Kind::Leaf {
            return Err(Problem::Depth.into());
        }
        if page.nodes() == 0 {
            return Err(Problem::Page(Flaw::TooFewNodes(0)).into());
        }
        page.check_layout(&mut self.tiles).map_err(Problem::Page)?;
        let mut before: Option<&[u8]> = None;
        for at in 0..page.nodes() {
            let row = page.row(at).map_err(Problem::Page)?;
            R::KEYS.check_len(at, row.key).map_err(Problem::Page)?;
            if before.is_some_and(|before| R::KEYS.compare(before, row.key) != Ordering::Less) {
                return Err(Problem::Page(Flaw::Order(at)).into());
            }
            let too_low =
                |low: &Vec<u8>| before.is_none() && R::KEYS.compare(row.key, low) == Ordering::Less;
            if span.low.as_ref().is_some_and(too_low) {
                return Err(Problem::Between.into());
            }
            before = Some(row.key);
            if row.node_len() > page::largest_node(bytes.len()) {
                return Err(Problem::Page(Flaw::Crowded(at)).into());
            }
            if !R::takes(&row.value) {
                return Err(Problem::Kind { node: at }.into());
            }
            if let Value::Far { page, len } = row.value {
                self.count.overflow += self.space.reach_overflow(page, len)?;
            }
            match self.rows.row(self.space, &mut self.tally, row) {
                Err(Trouble::Found(problem)) => self.found(number, problem),
                done => done?,
            }
            self.count.entries += 1;
        }
        match (before, &span.high) {
            (Some(last), Some(high)) if R::KEYS.compare(last, high) != Ordering::Less => {
                Err(Problem::Between.into())
            }
            _ => Ok(()),
        }
    }
}
