//! Which cases were tried, and how they ended; a long run keeps this in a file.

use crate::outcome::{Outcome, Verdict};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

/// The state of a run.
pub struct Progress {
    seed: u64,
    cases: Range<u64>,
    chunk: u64,
    next: u64,
    done: Vec<u64>,
    counts: BTreeMap<(String, Verdict), u64>,
    violations: Vec<Outcome>,
    kept: Option<PathBuf>,
}

impl Progress {
    /// A run over these cases; those that the file lists as done are left out.
    pub fn new(seed: u64, cases: Range<u64>, chunk: u64, kept: Option<PathBuf>) -> Progress {
        let mut progress = Progress {
            seed,
            next: cases.start,
            cases,
            chunk,
            done: Vec::new(),
            counts: BTreeMap::new(),
            violations: Vec::new(),
            kept,
        };
        let before = progress
            .kept
            .as_ref()
            .and_then(|path| std::fs::read_to_string(path).ok());
        for line in before.iter().flat_map(|text| text.lines()) {
            progress.read(line);
        }
        progress
    }

    fn read(&mut self, line: &str) {
        match line.split_once(' ') {
            Some(("done", first)) => self.done.push(first.parse().unwrap()),
            Some(("violation", outcome)) => self.violations.push(Outcome::parse(outcome)),
            Some(("count", rest)) => {
                let (count, rest) = rest.split_once(' ').unwrap();
                let (verdict, kind) = rest.split_once(' ').unwrap();
                let named = |known: &&(Verdict, &str)| known.1 == verdict;
                let verdict = Verdict::ALL.iter().find(named).unwrap().0;
                self.counts
                    .insert((kind.to_owned(), verdict), count.parse().unwrap());
            }
            _ => panic!("what is this line? {line}"),
        }
    }

    /// Cases that no worker has tried yet.
    pub fn next(&mut self) -> Option<Range<u64>> {
        while self.next < self.cases.end {
            let first = self.next;
            self.next += self.chunk;
            if !self.done.contains(&first) {
                return Some(first..self.next.min(self.cases.end));
            }
        }
        None
    }

    pub fn done(&mut self, chunk: Range<u64>, outcomes: Vec<Outcome>) {
        assert!(outcomes
            .iter()
            .map(|outcome| outcome.case)
            .eq(chunk.clone()));
        self.done.push(chunk.start);
        for outcome in outcomes {
            let key = (outcome.kind.clone(), outcome.verdict);
            *self.counts.entry(key).or_default() += 1;
            if outcome.verdict.is_violation() {
                self.violations.push(outcome);
            }
        }
        let Some(path) = &self.kept else {
            return;
        };
        let mut text = String::new();
        for first in &self.done {
            text += &format!("done {first}\n");
        }
        for ((kind, verdict), count) in &self.counts {
            text += &format!("count {count} {} {kind}\n", verdict.name());
        }
        for outcome in &self.violations {
            text += &format!("violation {outcome}\n");
        }
        let draft = path.with_extension("draft");
        std::fs::write(&draft, text).unwrap();
        std::fs::rename(&draft, path).unwrap();
    }

    pub fn count(&self, verdict: Verdict) -> u64 {
        let of = self.counts.iter().filter(|((_, v), _)| *v == verdict);
        of.map(|(_, count)| count).sum()
    }

    pub fn violations(&self) -> usize {
        self.violations.len()
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 20;
        let mut kinds: Vec<_> = self.counts.keys().map(|(kind, _)| kind).collect();
        kinds.dedup();
        for kind in kinds {
            write!(f, "{kind:>44}:")?;
            for (verdict, name) in Verdict::ALL {
                if let Some(count) = self.counts.get(&(kind.clone(), verdict)) {
                    write!(f, " {count} {name}")?;
                }
            }
            writeln!(f)?;
        }
        for outcome in self.violations.iter().take(SHOWN) {
            writeln!(f, "case {outcome}")?;
        }
        let all: u64 = self.counts.values().sum();
        write!(f, "damage: {all} cases, seed {}:", self.seed)?;
        for (verdict, name) in Verdict::ALL {
            write!(f, " {} {name},", self.count(verdict))?;
        }
        write!(f, " {} violations", self.violations())
    }
}
