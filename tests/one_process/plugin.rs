//! Another copy of the library, as a plugin of the same process has it.
#![allow(unsafe_code)]

use pool_metadata::capi::*;
use std::ffi::{c_char, c_void, CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

type Open = unsafe extern "C" fn(
    *const c_char,
    usize,
    *const pm_options,
    *mut *mut pm_store,
    *mut pm_error,
) -> i32;
type Close = unsafe extern "C" fn(*mut pm_store, *mut pm_error) -> i32;

/// The shared library, beside the copy that is linked into this program.
pub struct Plugin {
    open: Open,
    close: Close,
}

impl Plugin {
    /// Loads the shared library that cargo has built with this program.
    pub fn load() -> Plugin {
        let program = std::env::current_exe().unwrap();
        let library = program.with_file_name("libpool_metadata.so");
        let path = CString::new(library.as_os_str().as_bytes()).unwrap();
        // SAFETY: the string ends in NUL; the library runs no code of its own when it is loaded.
        let loaded = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        assert!(!loaded.is_null(), "{} cannot be loaded", library.display());
        let find = |name: &CStr| {
            // SAFETY: the library is loaded, and is never unloaded.
            let found: *mut c_void = unsafe { libc::dlsym(loaded, name.as_ptr()) };
            assert!(!found.is_null(), "{name:?}");
            found
        };
        let (open, close) = (find(c"pm_open"), find(c"pm_close"));
        assert_ne!(
            open as usize, pm_open as *const () as usize,
            "it is the same copy"
        );
        // SAFETY: the functions are of these types.
        unsafe {
            Plugin {
                open: std::mem::transmute::<*mut c_void, Open>(open),
                close: std::mem::transmute::<*mut c_void, Close>(close),
            }
        }
    }

    /// Opens a store; else the status and the message.
    pub fn open(&self, path: &Path, flags: u32) -> Result<*mut pm_store, (i32, String)> {
        let path = path.as_os_str().as_bytes();
        // SAFETY: zeros are a valid struct of numbers.
        let mut options: pm_options = unsafe { std::mem::zeroed() };
        options.struct_size = size_of::<pm_options>();
        (options.flags, options.lock_wait_ms) = (flags, 2000);
        // SAFETY: zeros are a valid struct of numbers.
        let mut error: pm_error = unsafe { std::mem::zeroed() };
        error.struct_size = size_of::<pm_error>();
        let mut store = ptr::null_mut();
        // SAFETY: the path, the structs and the memory for the handle outlive the call.
        let status = unsafe {
            let text = path.as_ptr().cast();
            (self.open)(text, path.len(), &options, &mut store, &mut error)
        };
        match status {
            PM_OK => Ok(store),
            // SAFETY: the library has ended the message in a NUL.
            status => Err((status, unsafe {
                let message = CStr::from_ptr(error.message.as_ptr());
                message.to_string_lossy().into_owned()
            })),
        }
    }

    pub fn close(&self, store: *mut pm_store) {
        // SAFETY: the store is one that `open` has returned.
        assert_eq!(unsafe { (self.close)(store, ptr::null_mut()) }, PM_OK);
    }
}
