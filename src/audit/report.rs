//! What an audit found, as data.

use std::ffi::CStr;
use std::fmt;

use crate::error::Quoted;

/// One violation of the invariants (`docs/design.md`, section 4).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// What kind of violation it is.
    pub kind: FindingKind,
    /// The device, if it is about a record.
    pub name: Option<Vec<u8>>,
    /// The device id, if it is about one and that is known.
    pub device_id: Option<u32>,
    /// What would fix it.
    pub fix: Fix,
    /// What is wrong, in words.
    pub what: String,
}

/// What kind of violation a [`Finding`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FindingKind {
    /// The header row is missing or damaged.
    HeaderDamaged = 1,
    /// A counter in the header is not what the rows add up to.
    Counters = 2,
    /// The header's digest is not that of the rows: some are missing, or of an older commit.
    Digest = 3,
    /// A record's checksum does not hold, or it does not decode.
    RecordDamaged = 4,
    /// A record's device id is out of range, or was never given out.
    RecordId = 5,
    /// A record is of a commit after the last one.
    RecordGeneration = 6,
    /// The device id of a record is another record's as well. There is a finding for each of them.
    SharedId = 7,
    /// A row of the table of ids is damaged.
    IdRowDamaged = 8,
    /// A row of the table of ids is of an id that is out of range, or was never given out.
    IdRowOutside = 9,
    /// An id is free, and a device has it.
    FreeAndOwned = 10,
    /// An id is free and faulty.
    FreeAndFaulty = 11,
    /// An id was given out, and is neither a device's nor free nor faulty: it would never be given
    /// out again.
    Lost = 12,
    /// A page of a table is damaged or missing. Only [`salvage`](crate::OpenOptions::salvage)
    /// reports it.
    PageLost = 13,
    /// A record was found outside the tables, which have lost it, or have an older one. It may be
    /// older than the lost one, or of a device that was removed since. Only
    /// [`salvage`](crate::OpenOptions::salvage) reports it.
    Recovered = 14,
    /// A row of the journal is damaged, or of a commit or with a number that the store has not come
    /// to; in a salvage, also an intent that is left out because it may have been finished.
    JournalRow = 15,
}

/// What would fix a [`Finding`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fix {
    /// Nothing but a guess: restore a backup, or [salvage](crate::OpenOptions::salvage) what is
    /// whole.
    Nothing = 0,
    /// Rewriting the header from the rows.
    Header = 1,
    /// Removing a row from the table of ids.
    RemoveIdRow = 2,
    /// Making the id faulty, so that it is not given out.
    MakeFaulty = 3,
    /// Removing a row from the journal.
    RemoveJournalRow = 4,
}

/// The names of an enum's variants, as C strings, with their numbers.
macro_rules! names {
    ($kind:ident: $($variant:ident)*) => {
        impl $kind {
            /// The name of the variant.
            pub fn name(self) -> &'static str {
                let name = Self::NAMES.iter().find(|(number, _)| *number == self as i32);
                name.and_then(|(_, name)| name.to_str().ok()).unwrap_or_default()
            }

            /// All numbers, and the names of their variants.
            pub(crate) const NAMES: &'static [(i32, &'static CStr)] = &[$((
                $kind::$variant as i32,
                match CStr::from_bytes_with_nul(
                    concat!(stringify!($variant), "\0").as_bytes()
                ) {
                    Ok(name) => name,
                    Err(_) => c"",
                },
            ),)*];
        }
    };
}

names!(FindingKind: HeaderDamaged Counters Digest RecordDamaged RecordId
    RecordGeneration SharedId IdRowDamaged IdRowOutside FreeAndOwned
    FreeAndFaulty Lost PageLost Recovered JournalRow);
names!(Fix: Nothing Header RemoveIdRow MakeFaulty RemoveJournalRow);

/// What a check of a store has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The first findings, up to the limit that the caller gave.
    pub findings: Vec<Finding>,
    /// How many findings there are in all.
    pub total: u64,
    /// How many of them cannot be fixed ([`Fix::Nothing`]).
    pub unfixable: u64,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.total == 0
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// Collects findings.
pub(crate) struct Findings {
    pub report: Report,
    limit: usize,
}

impl Findings {
    pub fn new(limit: usize) -> Findings {
        Findings {
            report: Report::default(),
            limit,
        }
    }

    fn add(&mut self, fix: Fix, finding: impl FnOnce() -> Finding) {
        self.report.total += 1;
        self.report.unfixable += u64::from(fix == Fix::Nothing);
        if self.report.findings.len() < self.limit {
            self.report.findings.push(finding());
        }
    }

    /// Adds a finding about the store as a whole.
    pub fn store(&mut self, kind: FindingKind, fix: Fix, what: impl FnOnce() -> String) {
        self.add(fix, || Finding {
            kind,
            name: None,
            device_id: None,
            fix,
            what: what(),
        });
    }

    /// Adds a finding about a record. `what` goes on after the device's name.
    pub fn record(
        &mut self,
        kind: FindingKind,
        name: &[u8],
        device_id: Option<u32>,
        fix: Fix,
        what: impl FnOnce() -> String,
    ) {
        self.add(fix, || Finding {
            kind,
            name: Some(name.to_vec()),
            device_id,
            fix,
            what: format!("device {} {}", Quoted(name), what()),
        });
    }

    /// Adds a finding about an id. `what` goes on after its number.
    pub fn id(&mut self, kind: FindingKind, id: u32, fix: Fix, what: &str) {
        self.add(fix, || Finding {
            kind,
            name: None,
            device_id: Some(id),
            fix,
            what: format!("id {id} {what}"),
        });
    }

    /// Adds a finding about a row of the journal that cannot be.
    pub fn journal_row(&mut self, key: &[u8], fix: Fix, what: &str) {
        self.store(FindingKind::JournalRow, fix, || {
            format!("the row \"{}\" of the journal: {what}", key.escape_ascii())
        });
    }

    /// Adds a finding about a row of the table of ids that does not decode.
    pub fn id_row(&mut self, key: &[u8], device_id: Option<u32>) {
        let (kind, fix) = (FindingKind::IdRowDamaged, Fix::RemoveIdRow);
        self.add(fix, || Finding {
            kind,
            name: None,
            device_id,
            fix,
            what: format!(
                "the row \"{}\" of the table of ids is damaged",
                key.escape_ascii()
            ),
        });
    }
}
