//! How far the rows that the trees lead to can be believed.

/// The worth of the rows that the trees of one root lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// They are all rows of the last commit.
    Complete,
    /// They are of the last commit. All records are there; rows of the table of ids are lost.
    IdsLost,
    /// They are of the last commit. Records are lost or older; the table of ids is whole.
    RecordsLost,
    /// They are of the last commit. Both tables have lost rows.
    BothLost,
    /// They are all rows of a commit that need not be the last.
    SomeCommit,
    /// They are some rows of a commit that need not be the last, or of several commits.
    Fragments,
}

/// What is known of a root's trees.
pub(crate) struct Evidence {
    /// Nothing shows that the root, or a page, is not that of the last commit.
    pub is_last: bool,
    /// The header's digest is that of the rows.
    pub digest_agrees: bool,
    /// The pages and rows of the records' table are whole, and as many as the header counts. They
    /// may still be older than the last commit.
    pub records_whole: bool,
    /// The pages and rows of the table of ids are whole, and as many as the header counts.
    pub ids_whole: bool,
}

impl Trust {
    /// Rows that the header's digest covers are right, whatever pages the trees led through.
    pub fn of(evidence: &Evidence) -> Trust {
        match evidence {
            Evidence {
                is_last: false,
                digest_agrees: true,
                ..
            } => Trust::SomeCommit,
            Evidence { is_last: false, .. } => Trust::Fragments,
            Evidence {
                digest_agrees: true,
                ..
            } => Trust::Complete,
            Evidence {
                ids_whole: true, ..
            } => Trust::RecordsLost,
            Evidence {
                records_whole: true,
                ..
            } => Trust::IdsLost,
            _ => Trust::BothLost,
        }
    }

    /// Whether the rows are of the last commit.
    pub fn is_last(self) -> bool {
        !matches!(self, Trust::SomeCommit | Trust::Fragments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trust_follows_from_the_evidence() {
        for bits in 0..16 {
            let [is_last, digest_agrees, records_whole, ids_whole] =
                [1, 2, 4, 8].map(|bit| bits & bit != 0);
            let trust = Trust::of(&Evidence {
                is_last,
                digest_agrees,
                records_whole,
                ids_whole,
            });
            assert_eq!(trust.is_last(), is_last, "{bits}");
            let has_all_rows = matches!(trust, Trust::Complete | Trust::SomeCommit);
            assert_eq!(has_all_rows, digest_agrees, "{bits}");
            let lost_rows = is_last && !digest_agrees;
            assert_eq!(trust == Trust::RecordsLost, lost_rows && ids_whole);
            let ids_alone = lost_rows && records_whole && !ids_whole;
            assert_eq!(trust == Trust::IdsLost, ids_alone, "{bits}");
        }
    }
}
