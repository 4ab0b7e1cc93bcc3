//! Memory that the library returns to the caller: every result is one block from the C allocator,
//! so that one function frees them all.

use std::ffi::{c_char, c_void};
use std::ptr;

use crate::capi::status::{Failure, Outcome, PM_ERR_NO_MEMORY};
use crate::capi::types::{pm_device, pm_ids, pm_name, pm_names, pm_record};
use crate::device::DeviceRef;
use crate::device_ids::Ids;

/// Frees the block of memory behind a result: a device, a list, a path or a report. The function
/// that returned it says so. NULL is allowed and does nothing.
///
/// Never fails; may be called from any thread, also after the store was closed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_free(block: *mut c_void) {
    // SAFETY: the caller passes a block that `allocate` made, and that was not freed yet.
    unsafe { libc::free(block) }
}

/// A block of uninitialised memory, aligned for any of the structs here.
pub(super) fn allocate(len: usize) -> Outcome<*mut u8> {
    // SAFETY: malloc may be called with any size; NULL is handled below.
    let block = unsafe { libc::malloc(len) };
    if block.is_null() {
        return Err(Failure::Edge(
            PM_ERR_NO_MEMORY,
            format!("out of memory for a result of {len} bytes"),
        ));
    }
    Ok(block.cast())
}

/// Copies a text. Most names have 8 to 32 bytes, which two moves that overlap copy without a call
/// of `memcpy`. Without them a page of `pm_walk_next` takes 5 % more instructions, which its line
/// in `make bench`, and the walk's in `make bench-go`, cannot spare.
///
/// # Safety
/// There is room for the text at `to`.
#[inline]
unsafe fn copy(text: &[u8], to: *mut u8) {
    // SAFETY: the caller promises that there is room.
    unsafe {
        match text.len() {
            0 => {}
            8..=16 => copy_ends::<8>(text, to),
            17..=32 => copy_ends::<16>(text, to),
            len => ptr::copy_nonoverlapping(text.as_ptr(), to, len),
        }
    }
}

/// Copies the first and the last `N` bytes of a text to `to`, if the text has at least `N` bytes.
///
/// # Safety
/// There is room for the text at `to`.
#[inline]
unsafe fn copy_ends<const N: usize>(text: &[u8], to: *mut u8) {
    if let (Some(first), Some(last)) = (text.first_chunk::<N>(), text.last_chunk::<N>()) {
        // SAFETY: both lie within the text's length.
        unsafe {
            to.cast::<[u8; N]>().write(*first);
            to.add(text.len() - N).cast::<[u8; N]>().write(*last);
        }
    }
}

/// Where the next text is copied to: texts follow each other, each with a NUL.
pub(super) struct Texts(pub(super) *mut u8);

impl Texts {
    /// Copies a text and returns where it is.
    ///
    /// # Safety
    /// There is room for the text and a NUL.
    #[inline]
    pub(super) unsafe fn put(&mut self, text: &[u8]) -> *const c_char {
        let at = self.0;
        // SAFETY: the caller promises that there is room.
        unsafe {
            copy(text, at);
            at.add(text.len()).write(0);
            self.0 = at.add(text.len() + 1);
        }
        at.cast()
    }
}

/// Number of bytes that a device's texts take with their NULs.
#[inline]
pub(crate) fn texts_len(device: &DeviceRef<'_>) -> usize {
    device.name.len() + device.parent_name.len() + device.error.len() + 3
}

/// The device as a C struct whose texts are copied to `texts`.
///
/// # Safety
/// `texts` has room for [`texts_len`] bytes, and outlives the struct.
#[inline]
pub(crate) unsafe fn fill_device(
    device: &DeviceRef<'_>,
    texts: *mut u8,
    owner: *mut c_void,
) -> pm_device {
    let mut texts = Texts(texts);
    // SAFETY: the caller promises room for the three texts.
    unsafe {
        pm_device {
            struct_size: size_of::<pm_device>(),
            size: device.size,
            generation: device.generation,
            device_id: device.device_id,
            state: device.state as i32,
            name: texts.put(device.name),
            name_len: device.name.len(),
            parent_name: texts.put(device.parent_name),
            parent_name_len: device.parent_name.len(),
            error: texts.put(device.error),
            error_len: device.error.len(),
            owner,
        }
    }
}

/// A block with the device and its texts.
pub(crate) fn new_device(device: &DeviceRef<'_>) -> Outcome<*mut pm_device> {
    let block = allocate(size_of::<pm_device>() + texts_len(device))?;
    let out = block.cast::<pm_device>();
    // SAFETY: the block has room for the struct and, behind it, for the texts.
    unsafe {
        out.write(fill_device(
            device,
            block.add(size_of::<pm_device>()),
            ptr::null_mut(),
        ))
    };
    Ok(out)
}

/// Size of the device as a [`pm_record`], in bytes.
#[inline]
pub(crate) fn record_size(device: &DeviceRef<'_>) -> usize {
    (size_of::<pm_record>() + texts_len(device)).next_multiple_of(align_of::<pm_record>())
}

/// Writes the device as a [`pm_record`].
///
/// # Safety
/// `at` is aligned for it and has room for `size` bytes, the device's [`record_size`].
#[inline]
pub(crate) unsafe fn write_record(device: &DeviceRef<'_>, at: *mut u8, size: usize) {
    let record = pm_record {
        record_size: size as u32,
        device_id: device.device_id,
        size: device.size,
        generation: device.generation,
        state: device.state as i32,
        name_len: device.name.len() as u32,
        parent_name_len: device.parent_name.len() as u32,
        error_len: device.error.len() as u32,
    };
    // SAFETY: the caller promises room for the record. The last eight bytes are zeroed first,
    // because the texts may end within them.
    unsafe {
        at.add(size - 8).cast::<u64>().write(0);
        at.cast::<pm_record>().write(record);
        let mut texts = Texts(at.add(size_of::<pm_record>()));
        texts.put(device.name);
        texts.put(device.parent_name);
        texts.put(device.error);
    }
}

/// A block with the state of the ids.
pub(crate) fn new_ids(ids: &Ids) -> Outcome<*mut pm_ids> {
    let (free, faulty) = (&ids.free, &ids.faulty);
    let block = allocate(size_of::<pm_ids>() + (free.len() + faulty.len()) * size_of::<u32>())?;
    // SAFETY: the block has room for the head and the two lists, in this order.
    unsafe {
        let free_ids = block.add(size_of::<pm_ids>()).cast::<u32>();
        let faulty_ids = free_ids.add(free.len());
        ptr::copy_nonoverlapping(free.as_ptr(), free_ids, free.len());
        ptr::copy_nonoverlapping(faulty.as_ptr(), faulty_ids, faulty.len());
        block.cast::<pm_ids>().write(pm_ids {
            struct_size: size_of::<pm_ids>(),
            last_id: ids.last_id,
            free_ids,
            free_count: free.len(),
            faulty_ids,
            faulty_count: faulty.len(),
        });
    }
    Ok(block.cast())
}

/// A block with one text.
pub(crate) fn new_name(text: &[u8]) -> Outcome<*mut pm_name> {
    let head = size_of::<pm_name>();
    let block = allocate(head + text.len() + 1)?;
    // SAFETY: the block has room for the head and, behind it, the text and its NUL.
    unsafe {
        let name = Texts(block.add(head)).put(text);
        block.cast::<pm_name>().write(pm_name {
            name,
            name_len: text.len(),
        });
    }
    Ok(block.cast())
}

/// A block with pointers to structs: the head that `head` makes, the pointers, the structs that
/// `make` makes of the items, their texts, and the texts of the head.
pub(crate) fn new_list<I, S, H, const TEXTS: usize, const OWN: usize>(
    items: &[I],
    texts_of: impl Fn(&I) -> [&[u8]; TEXTS],
    make: impl Fn(&I, [*const c_char; TEXTS]) -> S,
    own: [&[u8]; OWN],
    head: impl FnOnce(*const *const S, [*const c_char; OWN]) -> H,
) -> Outcome<*mut H> {
    let list = size_of::<H>();
    let bodies = list + items.len() * size_of::<*const S>();
    let behind = bodies + items.len() * size_of::<S>();
    let texts = items.iter().flat_map(&texts_of).chain(own);
    let block = allocate(behind + texts.map(|text| text.len() + 1).sum::<usize>())?;
    // SAFETY: the block has room for the head, the pointers, the structs and the texts, in this
    // order. Each is aligned, because the sizes of those before the texts are multiples of a
    // pointer's.
    unsafe {
        let mut texts = Texts(block.add(behind));
        let pointers = block.add(list).cast::<*const S>();
        for (at, item) in items.iter().enumerate() {
            let place = block.add(bodies).cast::<S>().add(at);
            place.write(make(item, texts_of(item).map(|text| texts.put(text))));
            pointers.add(at).write(place);
        }
        let own = own.map(|text| texts.put(text));
        block.cast::<H>().write(head(pointers, own));
    }
    Ok(block.cast())
}

/// A block with a list of names. `texts` has them one after the other, each with a NUL; `lens` are
/// their lengths without it.
pub(crate) fn new_names(lens: &[usize], texts: &[u8]) -> Outcome<*mut pm_names> {
    let list = size_of::<pm_names>();
    let behind = list + lens.len() * size_of::<pm_name>();
    let block = allocate(behind + texts.len())?;
    // SAFETY: the block has room for the head, the list and the texts, in this order; the lengths
    // are those of the texts.
    unsafe {
        let names = block.add(list).cast::<pm_name>();
        let mut text = block.add(behind);
        ptr::copy_nonoverlapping(texts.as_ptr(), text, texts.len());
        for (at, &name_len) in lens.iter().enumerate() {
            names.add(at).write(pm_name {
                name: text.cast(),
                name_len,
            });
            text = text.add(name_len + 1);
        }
        block.cast::<pm_names>().write(pm_names {
            count: lens.len(),
            names,
        });
    }
    Ok(block.cast())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_any_length_is_copied_with_its_nul_and_nothing_more() {
        let from: Vec<u8> = (1..=80).collect();
        for len in 0..from.len() {
            let mut to = [0xee; 100];
            // SAFETY: there is room for the text and the NUL.
            unsafe { Texts(to.as_mut_ptr()).put(&from[..len]) };
            assert_eq!(to[..len], from[..len]);
            assert_eq!(to[len], 0);
            assert!(to[len + 1..].iter().all(|byte| *byte == 0xee), "{len}");
        }
    }
}
