//! What an input of the target `calls` means: a list of calls, with arguments.
//!
//! The seeds in `fuzz/corpus/calls` are read in the order of the variants and fields here.

use arbitrary::Arbitrary;
use pool_metadata::capi::*;
use std::ffi::c_char;
use std::ptr::{null, null_mut};

/// A struct of the C API, initialised as in a C program.
pub fn zeroed<T>() -> T {
    // SAFETY: made of numbers and pointers, for each of which zero is a value.
    unsafe { std::mem::zeroed() }
}

/// A name or text argument: mostly one of a few, or any bytes, or NULL with a length.
#[derive(Arbitrary, Debug)]
pub enum Text {
    Known(u8),
    Any(Vec<u8>),
    Long(u16),
    Null(u8),
}

/// A device. Its struct says that it is as long as `struct_size`, if that is there and no more than
/// it has.
#[derive(Arbitrary, Debug)]
pub struct Fields {
    struct_size: Option<u16>,
    name: Text,
    parent: Text,
    error: Text,
    pub state: i8,
    pub size: u64,
    device_id: u8,
    generation: u8,
}

/// Action, device id, name and generation of a difference.
pub type Difference = (i8, u32, Text, u8);

/// A call of the library.
#[derive(Arbitrary, Debug)]
pub enum Call {
    Reopen,
    Close,
    Sync,
    Deferred,
    Stats(Option<u16>),
    Add(Fields),
    Get(Text),
    Read(Text, u16),
    ChangeState(Text, i8),
    MarkFaulty(Text),
    Remove(Text),
    Update(Text, Fields, i8),
    Begin(Text),
    SetTexts(Text, Text),
    Commit,
    Abort,
    Apply(Vec<(i8, Fields)>),
    WalkOpen,
    WalkNext(u16),
    WalkClose,
    WalkIds,
    Walk(i8),
    Names,
    RunningReads,
    ById(u32),
    ListIds(u8, u32, u32),
    FreeId(u32),
    FreeFaultyIds(Vec<u32>),
    MarkIdsFaulty(Vec<u32>),
    MarkIdsFaultyUpTo(u16),
    ReplaceId(Text, u8),
    WalkFiltered(Option<u16>, u32, Text, u8),
    Removals(u64),
    BeginIntent(Option<u16>, i8, u32, Text),
    FinishIntent(u8),
    Intents,
    Identity,
    SetIdentity(Text),
    Reconcile(Option<u16>, Vec<u32>, Text, u8, u8),
    ApplyDifferences(Option<u16>, Vec<Difference>),
}

impl Text {
    pub fn bytes(&self) -> Option<Vec<u8>> {
        match self {
            Text::Known(number) => Some(format!("device-{}", number % 8).into_bytes()),
            Text::Any(bytes) => Some(bytes.clone()),
            Text::Long(len) => Some(vec![b'n'; usize::from(*len) % 5000]),
            Text::Null(_) => None,
        }
    }

    pub fn len(&self, bytes: &Option<Vec<u8>>) -> usize {
        match (self, bytes) {
            (Text::Null(len), _) => usize::from(*len),
            (_, Some(bytes)) => bytes.len(),
            (_, None) => 0,
        }
    }
}

/// Calls with a text's pointer and length.
pub fn with<R>(text: &Text, call: impl FnOnce(*const c_char, usize) -> R) -> R {
    let bytes = text.bytes();
    call(
        bytes.as_ref().map_or(null(), |b| b.as_ptr().cast()),
        text.len(&bytes),
    )
}

/// Calls with a struct of these fields.
pub fn with_device<R>(fields: &Fields, call: impl FnOnce(&mut pm_device) -> R) -> R {
    with(&fields.name, |name, name_len| {
        with(&fields.parent, |parent_name, parent_name_len| {
            with(&fields.error, |error, error_len| {
                let size = size_of::<pm_device>();
                call(&mut pm_device {
                    struct_size: fields
                        .struct_size
                        .map_or(size, |other| size.min(other.into())),
                    size: fields.size,
                    generation: fields.generation.into(),
                    device_id: fields.device_id.into(),
                    state: fields.state.into(),
                    name,
                    name_len,
                    parent_name,
                    parent_name_len,
                    error,
                    error_len,
                    owner: null_mut(),
                })
            })
        })
    })
}
