//! The role of `tests/damage_campaign`.

mod judge;
mod kinds;
mod original;
#[path = "../../damage_campaign/outcome.rs"]
#[allow(dead_code)]
mod outcome;
mod random;

use crate::common::{child, pages, sys};
use judge::Bench;
use original::Original;
use outcome::Outcome;
use pool_metadata::Verify;
use random::Random;
use std::path::Path;

/// Tries the cases that the parent names, and reports how each ended.
pub fn worker(argument: &str) {
    let mut words = argument.splitn(4, ' ');
    let mut word = || words.next().unwrap();
    let seed = word().parse().unwrap();
    let verify = match word() {
        "none" => Verify::None,
        _ => Verify::Full,
    };
    pages::set_page_size(word().parse().unwrap());
    let directory = Path::new(word());
    let mut bench = Bench::new(directory, verify);
    sys::limit(libc::RLIMIT_CORE, 0);
    sys::die_after(300);
    let original = Original::make(directory);
    while let Some(line) = child::listen() {
        let (first, end) = line.split_once(' ').unwrap();
        for case in first.parse().unwrap()..end.parse().unwrap() {
            // A case that takes longer than this hangs.
            sys::die_after(300);
            let mut random = Random::of_case(seed, case);
            let damaged = kinds::damage(&original, &mut random);
            let (verdict, said) = bench.try_case(&original, &damaged);
            let outcome = Outcome {
                case,
                kind: damaged.kind.to_owned(),
                verdict,
                said,
            };
            child::say(&outcome.to_string());
        }
    }
}
