//! The page of the unnamed database: the header row, and the roots of the tables.

use crate::format::header;
use crate::format::header::Header;
use crate::format::table::{ByTable, Table};
use crate::salvage::free::Free;
use crate::salvage::source::Source;
use crate::verify::page::{Page, PageKind, TreeRecord, Value};
use crate::verify::Meta;

/// What is left of that page.
#[derive(Default)]
pub(crate) struct Root {
    pub header: Option<Header>,
    pub tables: ByTable<Option<TreeRecord>>,
}

impl Root {
    pub fn commit(&self) -> Option<u64> {
        self.header.as_ref().map(|header| header.commit)
    }

    fn is_whole(&self) -> bool {
        // A store of format 1 has no journal, and its header counts no rows of it.
        let is_there = |table, header: &Header| {
            self.tables.get(table).is_some() || table == Table::Journal && header.journal_rows == 0
        };
        let header = self.header.as_ref();
        header.is_some_and(|header| Table::ALL.into_iter().all(|table| is_there(table, header)))
    }

    /// The root of the later commit has the higher rank.
    fn rank(&self) -> (Option<u64>, bool) {
        (self.commit(), self.is_whole())
    }

    /// The root that the meta page in force points to, if there is no doubt about it. The meta
    /// pages are of two commits, one after the other, and so are their roots and the free list,
    /// unless one of them went back to an older content. (After a commit whose meta page could not
    /// be written, the older number stands beside the later root.)
    pub fn in_force(source: &Source<'_>, free: &Free) -> Option<Root> {
        let meta = source.in_force.as_ref()?;
        if source.deferred.is_some() {
            return Root::of_candidate(source, meta, free);
        }
        let root = of_meta(source, meta)?;
        let commit = root.commit()?;
        let metas = source.metas.iter();
        let roots = metas.filter_map(|meta| of_meta(source, meta)?.commit());
        let commits: Vec<u64> = roots.collect();
        let side_by_side = commits.iter().all(|other| other.abs_diff(commit) <= 1);
        let seconded = commits.len() > 1 || free.known;
        (root.is_whole() && side_by_side && seconded && !free.is_stale).then_some(root)
    }

    /// The root of one of the commits that may be in force where commits were deferred, with its
    /// free list. The other meta pages say nothing of it: commits in between have left no trace.
    pub fn of_candidate(source: &Source<'_>, meta: &Meta, free: &Free) -> Option<Root> {
        of_meta(source, meta).filter(|root| root.is_whole() && !free.is_stale)
    }

    /// Whether it is later than the commit after `commit`. Then that commit was written as a whole,
    /// because a commit that failed, or that a power cut ended, is the next one at most.
    pub fn is_later_than(&self, commit: Option<u64>) -> bool {
        self.commit() > commit.map(|commit| commit.saturating_add(1))
    }

    /// The root of the latest commit that any page of the file holds.
    pub fn latest(source: &Source<'_>) -> Root {
        let mut latest = Root::default();
        let mut offer = |root: Root| {
            if root.rank() > latest.rank() {
                latest = root;
            }
        };
        let metas = source.metas.iter();
        metas
            .filter_map(|meta| of_meta(source, meta))
            .for_each(&mut offer);
        source.each_page(|number, page| {
            Root::parse(page, number).into_iter().for_each(&mut offer);
        });
        latest
    }

    fn parse(bytes: &[u8], number: u64) -> Option<Root> {
        let page = Page::parse(bytes, number).ok()?;
        if page.kind() != PageKind::Leaf || page.nodes() > 1 + Table::ALL.len() {
            return None;
        }
        let mut root = Root::default();
        for row in (0..page.nodes()).filter_map(|at| page.row(at).ok()) {
            match row.value {
                Value::Here(value) if row.key == header::KEY => {
                    root.header = Header::parse(value).header();
                }
                Value::Tree(record) => {
                    if let Some(table) = Table::named(row.key) {
                        let record = record.try_into().ok().map(TreeRecord::parse);
                        *root.tables.get_mut(table) = record;
                    }
                }
                _ => {}
            }
        }
        (root.header.is_some() || root.tables.get(Table::Devices).is_some()).then_some(root)
    }
}

fn of_meta(source: &Source<'_>, meta: &Meta) -> Option<Root> {
    let number = meta.main.root?;
    let mut bytes = Vec::new();
    source
        .page(number, &mut bytes)
        .then(|| Root::parse(&bytes, number))?
}
