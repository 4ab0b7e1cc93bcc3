//! Conversions between the C functions' types and Rust's.

use crate::subject::{Finding, Report};
use pool_metadata::capi::*;
use pool_metadata::{DeviceInfo, DeviceState, Error, Ids};
use std::ffi::{c_char, CStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::ptr;

/// What a call reported when it failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    pub code: i32,
    pub callback_code: i32,
    pub os_error: i32,
    pub message: String,
}

pub type Outcome<T> = Result<T, Failure>;

/// An error struct whose fields no call sets to what they are.
pub fn blank_error() -> pm_error {
    pm_error {
        struct_size: size_of::<pm_error>(),
        code: -77,
        callback_code: -77,
        os_error: -77,
        message: [0x7a; PM_ERROR_MESSAGE_SIZE],
    }
}

/// Makes a call, and checks the rules that hold for every error struct.
pub fn call(function: impl FnOnce(*mut pm_error) -> i32) -> Outcome<()> {
    let mut error = blank_error();
    let status = function(&mut error);
    if status == PM_OK {
        assert_eq!((error.code, error.message[0]), (-77, 0x7a), "left alone");
        return Ok(());
    }
    assert_eq!(error.code, status);
    Err(failure(&error))
}

/// What an error struct that a call has filled reports.
pub fn failure(error: &pm_error) -> Failure {
    // SAFETY: a failed call has ended the message with a NUL.
    let message = unsafe { CStr::from_ptr(error.message.as_ptr()) };
    Failure {
        code: error.code,
        callback_code: error.callback_code,
        os_error: error.os_error,
        message: message.to_str().unwrap().to_owned(),
    }
}

pub fn chars(text: &[u8]) -> (*const c_char, usize) {
    (text.as_ptr().cast(), text.len())
}

/// # Safety
/// `text` points to `len` bytes.
pub unsafe fn path_of(text: *const c_char, len: usize) -> PathBuf {
    // SAFETY: the caller says so.
    OsString::from_vec(unsafe { bytes(text, len) }).into()
}

/// # Safety
/// `text` points to `len` bytes.
pub unsafe fn bytes(text: *const c_char, len: usize) -> Vec<u8> {
    // SAFETY: the caller says so.
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
    // SAFETY: the caller says so.
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

/// The status that an error has to have.
pub fn status_of(error: &Error) -> i32 {
    let name = status_name(error);
    let found = (1..100).find(|status| name_of(*status) == name);
    found.unwrap_or_else(|| panic!("no status is called {name}"))
}

/// The name of an error's status, from the name of its variant: `NotFound` is `PM_ERR_NOT_FOUND`.
fn status_name(error: &Error) -> String {
    let debug = format!("{error:?}");
    let variant = debug
        .split(|c: char| !c.is_alphanumeric())
        .next()
        .unwrap_or("");
    let variant = match variant {
        "InvalidOption" | "InvalidImport" | "InvalidId" | "ListedTwice" | "NothingToCompare" => {
            "InvalidArgument"
        }
        "NoDeviceWithId" | "NoSuchIntent" => "NotFound",
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
    unsafe { CStr::from_ptr(pm_status_name(status)) }
        .to_str()
        .unwrap()
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

/// Devices as `pm_import` takes them: one record behind the other.
pub fn to_records(devices: &[DeviceInfo]) -> Vec<u64> {
    let mut words = Vec::new();
    for device in devices {
        let texts = [&device.name, &device.parent_name, &device.error];
        let texts: Vec<u8> = texts
            .iter()
            .flat_map(|t| t.iter().chain(&[0]))
            .copied()
            .collect();
        let head = size_of::<pm_record>() / 8;
        let at = words.len();
        words.resize(at + head + texts.len().div_ceil(8), 0);
        let record = pm_record {
            record_size: ((words.len() - at) * 8) as u32,
            device_id: device.device_id,
            size: device.size,
            generation: device.generation,
            state: device.state as i32,
            name_len: device.name.len() as u32,
            parent_name_len: device.parent_name.len() as u32,
            error_len: device.error.len() as u32,
        };
        // SAFETY: there is room for the record and, behind it, for the texts.
        unsafe {
            words.as_mut_ptr().add(at).cast::<pm_record>().write(record);
            let to = words.as_mut_ptr().add(at + head).cast::<u8>();
            ptr::copy_nonoverlapping(texts.as_ptr(), to, texts.len());
        }
    }
    words
}

/// The lists of a struct of ids.
///
/// # Safety
/// The struct's lists are there.
pub unsafe fn ids_of(ids: &pm_ids) -> Ids {
    // SAFETY: the caller says so.
    let list = |at, count| unsafe { std::slice::from_raw_parts(at, count) }.to_vec();
    Ids {
        last_id: ids.last_id,
        free: list(ids.free_ids, ids.free_count),
        faulty: list(ids.faulty_ids, ids.faulty_count),
    }
}

/// Takes a report over and frees it.
///
/// # Safety
/// `report` is a report that a call has handed out.
pub unsafe fn take_report(report: *mut pm_report) -> Report {
    // SAFETY: the caller says so; a report's findings and texts live as long as it does.
    unsafe {
        let whole = &*report;
        let findings = std::slice::from_raw_parts(whole.findings, whole.count);
        let backup = path_of(whole.backup, whole.backup_len);
        let taken = Report {
            findings: findings
                .iter()
                .map(|finding| finding_of(&**finding))
                .collect(),
            total: whole.total,
            unfixable: whole.unfixable,
            left: whole.left,
            backup: (whole.backup_len > 0).then_some(backup),
        };
        assert_eq!(*whole.backup.add(whole.backup_len), 0);
        pm_free(report.cast());
        taken
    }
}

/// # Safety
/// The finding's texts are there.
unsafe fn finding_of(finding: &pm_finding) -> Finding {
    // SAFETY: the caller says so.
    let (name, text) = unsafe {
        assert_eq!(*finding.name.add(finding.name_len), 0);
        assert_eq!(*finding.text.add(finding.text_len), 0);
        (
            bytes(finding.name, finding.name_len),
            bytes(finding.text, finding.text_len),
        )
    };
    Finding {
        kind: finding.kind,
        fix: finding.fix,
        device_id: match (finding.kind, finding.device_id) {
            // Here 0 is an id that a row has, and elsewhere it stands for none.
            (PM_FINDING_RECORD_ID | PM_FINDING_ID_ROW_OUTSIDE, id) => Some(id),
            (_, 0) => None,
            (_, id) => Some(id),
        },
        name: (finding.name_len > 0).then_some(name),
        text: String::from_utf8(text).unwrap(),
    }
}
