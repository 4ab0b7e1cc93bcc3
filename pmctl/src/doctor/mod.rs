//! What `pmctl doctor` looks at, a file each.

pub mod devices;
pub mod files;
pub mod mounts;
pub mod pool;
pub mod processes;

/// How grave something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Nothing to do.
    Fine,
    /// Worth to know.
    Note,
    /// Something is wrong.
    Problem,
}

/// What was found out about one thing, in words, and what to type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub level: Level,
    /// Of what: "store", "pool" and so on.
    pub about: &'static str,
    pub what: String,
    /// The command to type, or what else to do.
    pub advice: Option<String>,
}

/// The findings so far.
#[derive(Default)]
pub struct Findings {
    pub all: Vec<Finding>,
}

impl Findings {
    fn add(&mut self, level: Level, about: &'static str, what: String, advice: Option<String>) {
        self.all.push(Finding {
            level,
            about,
            what,
            advice,
        });
    }

    pub fn fine(&mut self, about: &'static str, what: impl Into<String>) {
        self.add(Level::Fine, about, what.into(), None);
    }

    pub fn note(&mut self, about: &'static str, what: impl Into<String>, advice: &str) {
        let advice = (!advice.is_empty()).then(|| advice.to_owned());
        self.add(Level::Note, about, what.into(), advice);
    }

    pub fn problem(
        &mut self,
        about: &'static str,
        what: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.add(Level::Problem, about, what.into(), Some(advice.into()));
    }
}
