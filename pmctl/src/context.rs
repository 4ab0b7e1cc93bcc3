//! What every command gets, and how it ends.

use crate::output::Paint;
use crate::place::Place;

/// What every command gets.
pub struct Context {
    pub place: Place,
    pub paint: Paint,
}

/// How a command ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Fine,
    ProblemFound,
}
