//! The verifier on bytes alone: any file, and a store's with any damage. The verifier ends, and
//! accepts only files that LMDB can be trusted with; the target `open` checks the latter.
#![no_main]

#[allow(dead_code)] // what only the target `open` needs
mod damage;

use arbitrary::Arbitrary;
use damage::{apply, original, Damage};
use libfuzzer_sys::{fuzz_target, Corpus};
use pool_metadata::fuzzing::verify;

#[derive(Arbitrary, Debug)]
enum File {
    Any(Vec<u8>),
    Damaged(Vec<Damage>),
}

fuzz_target!(|file: File| -> Corpus {
    match file {
        File::Any(bytes) => {
            let _ = verify(&bytes);
        }
        File::Damaged(damages) if damages.len() > 12 => return Corpus::Reject,
        File::Damaged(damages) => {
            let mut bytes = original().now.clone();
            damages.iter().for_each(|damage| apply(damage, &mut bytes));
            let verdict = verify(&bytes);
            assert!(verdict.is_ok() || bytes != original().now, "{verdict:?}");
        }
    }
    Corpus::Keep
});
