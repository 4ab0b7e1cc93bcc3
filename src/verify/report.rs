//! What a verification of a store found.

use std::{fmt, io};

use crate::verify::bytes::ReadAt;
use crate::verify::meta::{Meta, Metas};
use crate::verify::newest;
use crate::verify::structure::{self, Level};
use crate::verify::violation::{Structure, Violations};

#[derive(Default)]
pub(crate) struct Report {
    pub violations: Violations,
    /// Pages that are neither in use nor free, if all were counted. That space is lost and does no
    /// other harm.
    #[cfg_attr(not(fuzzing), allow(dead_code))] // for fuzzing and for tests
    pub lost: u64,
    /// If something is wrong: whether the commit before is sound, as far as that can still be
    /// checked.
    pub sound_before: Option<bool>,
}

impl Report {
    /// Checks a file that nobody writes to, by its bytes alone.
    pub fn of_bytes(source: &dyn ReadAt, level: Level) -> io::Result<Report> {
        match newest::in_force(source, &Metas::read(source)?)? {
            Ok(in_force) => Report::of_commit(source, &in_force.meta, level),
            Err(kind) => {
                let mut report = Report::default();
                report.violations.add(Structure::Meta, None, kind);
                Ok(report)
            }
        }
    }

    /// Checks the commit of `meta`. Its pages, and those of the commit before it, must not be
    /// written meanwhile.
    pub fn of_commit(source: &dyn ReadAt, meta: &Meta, level: Level) -> io::Result<Report> {
        let (violations, lost) = structure::check(source, meta, level)?;
        let mut report = Report {
            violations,
            lost,
            sound_before: None,
        };
        if !report.is_sound() {
            let before = meta.txnid.wrapping_sub(1);
            if let Some(before) = Metas::read(source)?.of_commit(before) {
                let (violations, _) = structure::check(source, &before, Level::Full)?;
                report.sound_before = Some(violations.is_empty());
            }
        }
        Ok(report)
    }

    pub fn is_sound(&self) -> bool {
        self.violations.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.violations)?;
        f.write_str(match self.sound_before {
            Some(true) => "; the commit before is sound",
            Some(false) => "; the commit before is not sound either",
            None => "",
        })
    }
}
