//! How a case ended, as a worker reports it in a line.

use std::fmt;

/// How a case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    Refused,
    Right,
    /// The content of an earlier commit, as a whole, after damage to the meta pages.
    Earlier,
    /// The process ended by a signal that it caused.
    Died,
    Hung,
    Wrong,
}

impl Verdict {
    pub const ALL: [(Verdict, &'static str); 6] = [
        (Verdict::Refused, "refused"),
        (Verdict::Right, "right"),
        (Verdict::Earlier, "earlier"),
        (Verdict::Died, "died"),
        (Verdict::Hung, "hung"),
        (Verdict::Wrong, "wrong"),
    ];

    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    pub fn is_violation(self) -> bool {
        self >= Verdict::Died
    }
}

/// How one case ended.
pub struct Outcome {
    pub case: u64,
    pub kind: String,
    pub verdict: Verdict,
    pub said: String,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verdict, said) = (self.verdict.name(), &self.said);
        write!(f, "{}\t{verdict}\t{}\t{said}", self.case, self.kind)
    }
}

impl Outcome {
    pub fn parse(line: &str) -> Outcome {
        let mut parts = line.splitn(4, '\t');
        let mut next = || parts.next().unwrap_or_default().to_owned();
        let (case, verdict) = (next().parse().unwrap(), next());
        let named = |known: &&(Verdict, &str)| known.1 == verdict;
        Outcome {
            case,
            verdict: Verdict::ALL.iter().find(named).unwrap().0,
            kind: next(),
            said: next(),
        }
    }
}
