//! LMDB's own functions, each called here and nowhere else.
#![allow(unsafe_code)]

pub(crate) mod cursor;
pub(crate) mod error;
pub(crate) mod key_order;
pub(crate) mod reader;
pub(crate) mod val;
