//! What crosses the C functions' edge, between C's types and Rust's.

use pool_metadata::capi::*;
use pool_metadata::{DeviceInfo, DeviceState, Error};
use std::ffi::{c_char, CStr};
use std::ptr;

/// What a call reported when it failed.
#[derive(Debug, PartialEq)]
pub struct Failure {
    pub code: i32,
    pub callback_code: i32,
    pub os_error: i32,
    pub message: String,
}

pub type Outcome<T> = Result<T, Failure>;

/// Makes a call, and checks the rules that hold for every error struct.
pub fn call(function: impl FnOnce(*mut pm_error) -> i32) -> Outcome<()> {
    let mut error = pm_error {
        struct_size: size_of::<pm_error>(),
        code: -77,
        callback_code: -77,
        os_error: -77,
        message: [0x7a; PM_ERROR_MESSAGE_SIZE],
    };
    let status = function(&mut error);
    if status == PM_OK {
        assert_eq!((error.code, error.message[0]), (-77, 0x7a), "left alone");
        return Ok(());
    }
    assert_eq!(error.code, status);
    // SAFETY: a failed call has ended the message with a NUL.
    let message = unsafe { CStr::from_ptr(error.message.as_ptr()) };
    Err(Failure {
        code: status,
        callback_code: error.callback_code,
        os_error: error.os_error,
        message: message.to_str().unwrap().to_owned(),
    })
}

pub fn chars(text: &[u8]) -> (*const c_char, usize) {
    (text.as_ptr().cast(), text.len())
}

/// # Safety
/// `text` points to `len` bytes.
pub unsafe fn bytes(text: *const c_char, len: usize) -> Vec<u8> {
    // SAFETY: says the caller.
    unsafe { std::slice::from_raw_parts(text.cast::<u8>(), len) }.to_vec()
}

/// The struct for a device; it borrows the device's texts.
pub fn to_c(device: &DeviceInfo) -> pm_device {
    pm_device {
        struct_size: size_of::<pm_device>(),
        size: device.size,
        generation: device.generation,
        device_id: device.device_id,
        state: device.state as i32,
        name: chars(&device.name).0,
        name_len: device.name.len(),
        parent_name: chars(&device.parent_name).0,
        parent_name_len: device.parent_name.len(),
        error: chars(&device.error).0,
        error_len: device.error.len(),
        owner: ptr::null_mut(),
    }
}

/// # Safety
/// The struct's texts are there.
pub unsafe fn from_c(device: &pm_device) -> DeviceInfo {
    // SAFETY: says the caller.
    unsafe {
        DeviceInfo {
            name: bytes(device.name, device.name_len),
            device_id: device.device_id,
            size: device.size,
            parent_name: bytes(device.parent_name, device.parent_name_len),
            state: DeviceState::from_number(device.state.into()).unwrap(),
            error: bytes(device.error, device.error_len),
            generation: device.generation,
        }
    }
}

/// The status name that an error has to have, from the name of its variant: NotFound is
/// PM_ERR_NOT_FOUND.
pub fn status_name(error: &Error) -> String {
    let debug = format!("{error:?}");
    let variant = debug
        .split(|c: char| !c.is_alphanumeric())
        .next()
        .unwrap_or("");
    let variant = match variant {
        "InvalidOption" | "InvalidImport" => "InvalidArgument",
        "Lmdb" => "Internal",
        variant => variant,
    };
    let mut name = "PM_ERR".to_owned();
    for letter in variant.chars() {
        if letter.is_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

pub fn name_of(status: i32) -> &'static str {
    // SAFETY: a static string that ends in NUL.
    unsafe { std::ffi::CStr::from_ptr(pm_status_name(status)) }
        .to_str()
        .unwrap()
}

/// Words that the first `count` records of a page take.
pub fn words_of(page: &[u64], count: usize) -> usize {
    let mut at = 0;
    for _ in 0..count {
        at += page[at] as u32 as usize / 8;
    }
    at
}

/// The first `count` devices of a page.
pub fn records(page: &[u64], count: usize) -> Vec<DeviceInfo> {
    let mut at = page.as_ptr().cast::<u8>();
    let mut devices = Vec::new();
    for _ in 0..count {
        // SAFETY: a page holds that many records, one behind the other, each with its texts.
        unsafe {
            let record = at.cast::<pm_record>().read();
            let name = at.add(size_of::<pm_record>()).cast::<c_char>();
            let parent_name = name.add(record.name_len as usize + 1);
            let error = parent_name.add(record.parent_name_len as usize + 1);
            devices.push(DeviceInfo {
                name: bytes(name, record.name_len as usize),
                device_id: record.device_id,
                size: record.size,
                parent_name: bytes(parent_name, record.parent_name_len as usize),
                state: DeviceState::from_number(record.state.into()).unwrap(),
                error: bytes(error, record.error_len as usize),
                generation: record.generation,
            });
            at = at.add(record.record_size as usize);
        }
    }
    devices
}
