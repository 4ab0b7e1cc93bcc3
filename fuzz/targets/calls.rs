//! Sequences of calls of the C functions, with arguments that a careless caller would give: every
//! call returns a status, and the store is sound after all of them.
#![no_main]

mod arguments;
mod reconcile;

use arguments::{with, with_device, zeroed, Call, Fields, Text};
use libfuzzer_sys::fuzz_target;
use pool_metadata::capi::*;
use std::ffi::c_void;
use std::path::{Path, PathBuf};
use std::ptr::{null, null_mut};
use std::sync::OnceLock;

/// What is open, as a C program would keep it.
struct Program {
    /// The handle that calls are made with: `opened`, or another of the same store.
    store: *mut pm_store,
    opened: *mut pm_store,
    walk: *mut pm_walk,
    update: *mut pm_update,
    device: *mut pm_device,
    error: pm_error,
}

fn directory() -> &'static Path {
    static DIRECTORY: OnceLock<tempfile::TempDir> = OnceLock::new();
    let memory = Path::new("/dev/shm");
    let new = || {
        if memory.is_dir() {
            tempfile::tempdir_in(memory)
        } else {
            tempfile::tempdir()
        }
    };
    DIRECTORY.get_or_init(|| new().unwrap()).path()
}

fn path() -> PathBuf {
    directory().join("pool.db")
}

unsafe extern "C-unwind" fn on_update(device: *mut pm_device, user_data: *mut c_void) -> i32 {
    // SAFETY: this is only registered with such a pair, and the library passes a device that lives
    // until it returns.
    let (fields, code) = unsafe { &*user_data.cast::<(&Fields, i8)>() };
    // SAFETY: the device lives until this returns, and nobody else writes to it.
    unsafe {
        (*device).state = fields.state.into();
        (*device).size = fields.size;
    }
    (*code).into()
}

unsafe extern "C-unwind" fn on_walk(device: *const pm_device, user_data: *mut c_void) -> i32 {
    // SAFETY: this is only registered with a number, and the library passes a device.
    assert!(!unsafe { (*device).name }.is_null());
    // SAFETY: the number outlives the walk.
    unsafe { *user_data.cast::<i8>() }.into()
}

impl Program {
    fn run(&mut self, call: &Call) -> i32 {
        let e: *mut pm_error = &mut self.error;
        let store = self.store;
        // SAFETY: handles are the library's or NULL, texts and structs live until the call returns,
        // and sizes are no greater than what is there.
        unsafe {
            match call {
                Call::Reopen => self.reopen(),
                Call::Close => pm_close(store, e),
                Call::Sync => pm_sync(store, e),
                Call::Deferred => {
                    let mut deferred = store;
                    let status = pm_deferred(self.opened, &mut deferred, e);
                    self.store = deferred;
                    status
                }
                Call::Stats(size) => {
                    let mut stats: pm_stats = zeroed();
                    let size = size.map_or(size_of::<pm_stats>(), usize::from);
                    // The library cannot detect a size that is greater than the memory.
                    stats.struct_size = size.min(size_of::<pm_stats>());
                    pm_get_stats(store, &mut stats, e)
                }
                Call::Add(fields) => with_device(fields, |device| pm_add_device(store, device, e)),
                Call::Get(name) => {
                    let mut device = null_mut();
                    let status = with(name, |name, len| {
                        pm_get_device(store, name, len, &mut device, e)
                    });
                    pm_free(device.cast());
                    status
                }
                Call::Read(name, capacity) => {
                    let mut buffer = vec![0u64; usize::from(*capacity) / 8 + 1];
                    let mut needed = 0;
                    with(name, |name, len| {
                        pm_read_device(
                            store,
                            name,
                            len,
                            buffer.as_mut_ptr().cast(),
                            (*capacity).into(),
                            &mut needed,
                            e,
                        )
                    })
                }
                Call::ChangeState(name, state) => with(name, |name, len| {
                    pm_change_device_state(store, name, len, (*state).into(), e)
                }),
                Call::MarkFaulty(name) => {
                    with(name, |name, len| pm_mark_faulty(store, name, len, e))
                }
                Call::Remove(name) => with(name, |name, len| pm_remove_device(store, name, len, e)),
                Call::Update(name, fields, code) => {
                    let mut context = (fields, *code);
                    let context = (&raw mut context).cast();
                    with(name, |name, len| {
                        pm_update_device(store, name, len, Some(on_update), context, e)
                    })
                }
                Call::Begin(name) => self.begin(name),
                Call::SetTexts(parent, error) => self.set_texts(parent, error),
                Call::Commit => {
                    let update = std::mem::replace(&mut self.update, null_mut());
                    pm_update_commit(update, e)
                }
                Call::Abort => {
                    pm_update_abort(std::mem::replace(&mut self.update, null_mut()));
                    PM_OK
                }
                Call::Apply(changes) => self.apply(changes),
                Call::WalkOpen => {
                    pm_walk_close(std::mem::replace(&mut self.walk, null_mut()));
                    pm_walk_open(store, &mut self.walk, e)
                }
                Call::WalkNext(capacity) => {
                    let mut buffer = vec![0u64; usize::from(*capacity) / 8 + 1];
                    let (mut count, mut needed) = (0, 0);
                    let buffer = buffer.as_mut_ptr().cast();
                    pm_walk_next(
                        self.walk,
                        buffer,
                        (*capacity).into(),
                        &mut count,
                        &mut needed,
                        e,
                    )
                }
                Call::WalkClose => {
                    pm_walk_close(std::mem::replace(&mut self.walk, null_mut()));
                    PM_OK
                }
                Call::WalkIds => {
                    let mut ids = null_mut();
                    let status = pm_walk_get_ids(self.walk, &mut ids, e);
                    pm_free(ids.cast());
                    status
                }
                Call::Walk(code) => {
                    let mut code = *code;
                    pm_walk_devices(store, Some(on_walk), (&raw mut code).cast(), e)
                }
                Call::RunningReads => {
                    let mut reads = null_mut();
                    let status = pm_get_running_reads(store, &mut reads, e);
                    pm_free(reads.cast());
                    status
                }
                Call::ById(id) => {
                    let mut device = null_mut();
                    let status = pm_get_device_by_id(store, *id, &mut device, e);
                    pm_free(device.cast());
                    status
                }
                Call::ListIds(states, first, last) => {
                    let mut ids = null_mut();
                    let status = pm_list_ids(store, (*states).into(), *first, *last, &mut ids, e);
                    pm_free(ids.cast());
                    status
                }
                Call::FreeId(id) => pm_free_id(store, *id, e),
                Call::FreeFaultyIds(ids) => {
                    pm_free_faulty_ids(store, ids.as_ptr(), ids.len(), null_mut(), e)
                }
                // A high id would make a row for each below it.
                Call::MarkIdsFaulty(ids) if ids.iter().any(|id| (5000..1 << 24).contains(id)) => {
                    PM_OK
                }
                Call::MarkIdsFaulty(ids) => {
                    let mut marked = 0;
                    pm_mark_ids_faulty(store, ids.as_ptr(), ids.len(), &mut marked, e)
                }
                Call::MarkIdsFaultyUpTo(last) => {
                    pm_mark_ids_faulty_up_to(store, u32::from(*last) % 5000, null_mut(), e)
                }
                Call::ReplaceId(name, id) => {
                    let mut new_id = 0;
                    with(name, |name, len| {
                        pm_replace_device_id(store, name, len, (*id).into(), &mut new_id, e)
                    })
                }
                Call::WalkFiltered(size, states, parent, first) => {
                    pm_walk_close(std::mem::replace(&mut self.walk, null_mut()));
                    let walk = &mut self.walk;
                    with(parent, |parent_name, parent_name_len| {
                        let mut filter: pm_filter = zeroed();
                        let known = size_of::<pm_filter>();
                        filter.struct_size = size.map_or(known, |size| known.min(size.into()));
                        filter.states = *states;
                        filter.first_id = (*first).into();
                        (filter.parent_name, filter.parent_name_len) =
                            (parent_name, parent_name_len);
                        pm_walk_open_filtered(store, &filter, walk, e)
                    })
                }
                Call::Removals(since) => {
                    let mut removals = null_mut();
                    let status = pm_walk_get_removals(self.walk, *since, &mut removals, e);
                    pm_free(removals.cast());
                    status
                }
                Call::BeginIntent(size, kind, device_id, name) => with(name, |name, name_len| {
                    let mut intent: pm_intent = zeroed();
                    let known = size_of::<pm_intent>();
                    intent.struct_size = size.map_or(known, |size| known.min(size.into()));
                    (intent.kind, intent.device_id) = ((*kind).into(), *device_id);
                    (intent.name, intent.name_len) = (name, name_len);
                    pm_begin_intent(store, &mut intent, e)
                }),
                Call::FinishIntent(number) => pm_finish_intent(store, (*number).into(), e),
                Call::Intents => {
                    let mut intents = null_mut();
                    let status = pm_list_intents(store, &mut intents, e);
                    pm_free(intents.cast());
                    status
                }
                Call::Identity => {
                    let mut identity = null_mut();
                    let status = pm_get_identity(store, &mut identity, e);
                    pm_free(identity.cast());
                    status
                }
                Call::SetIdentity(identity) => with(identity, |identity, len| {
                    pm_set_identity(store, identity, len, e)
                }),
                Call::Reconcile(size, ids, name, commit, in_use) => {
                    self.reconcile(*size, ids, name, (*commit).into(), (*in_use).into())
                }
                Call::ApplyDifferences(size, given) => self.apply_differences(*size, given),
                Call::Names => {
                    let mut names = null_mut();
                    let status = pm_get_device_names(store, &mut names, e);
                    pm_free(names.cast());
                    status
                }
            }
        }
    }

    fn reopen(&mut self) -> i32 {
        self.end();
        let path = path();
        let path = path.as_os_str().as_encoded_bytes();
        let mut options: pm_options = zeroed();
        options.struct_size = size_of::<pm_options>();
        options.map_size = 1 << 20;
        options.lock_wait_ms = 20;
        // SAFETY: the path and the struct live until the call returns.
        let status = unsafe {
            pm_open(
                path.as_ptr().cast(),
                path.len(),
                &options,
                &mut self.store,
                &mut self.error,
            )
        };
        self.opened = self.store;
        status
    }

    fn begin(&mut self, name: &Text) -> i32 {
        // SAFETY: the update is ended once, and its device is not used after it.
        unsafe {
            pm_update_abort(std::mem::replace(&mut self.update, null_mut()));
            with(name, |name, len| {
                pm_update_begin(
                    self.store,
                    name,
                    len,
                    &mut self.update,
                    &mut self.device,
                    &mut self.error,
                )
            })
        }
    }

    fn set_texts(&mut self, parent: &Text, error: &Text) -> i32 {
        if self.update.is_null() {
            return PM_OK;
        }
        let (device, e): (_, *mut pm_error) = (self.device, &mut self.error);
        // SAFETY: the update that the device is of goes on, and the texts live until each call
        // returns.
        unsafe {
            with(parent, |text, len| {
                pm_device_set_parent_name(device, text, len, e)
            });
            with(error, |text, len| pm_device_set_error(device, text, len, e))
        }
    }

    fn apply(&mut self, changes: &[(i8, Fields)]) -> i32 {
        match changes {
            // SAFETY: no struct is read.
            [] => unsafe { pm_apply(self.store, null(), 0, null_mut(), &mut self.error) },
            changes => self.apply_from(changes, Vec::new()),
        }
    }

    /// The texts of all structs have to live until the call, so each is made inside the one before.
    fn apply_from(&mut self, changes: &[(i8, Fields)], mut made: Vec<pm_change>) -> i32 {
        let Some(((kind, fields), rest)) = changes.split_first().filter(|_| made.len() < 8) else {
            let (store, at, len) = (self.store, made.as_ptr(), made.len());
            let mut refused = 0;
            // SAFETY: so many structs are there, and what they point to lives in the calls of this
            // function that made them.
            return unsafe {
                match len % 2 {
                    0 => pm_apply(store, at, len, &mut refused, &mut self.error),
                    _ => pm_apply_each(store, at, len, null_mut(), &mut self.error),
                }
            };
        };
        with_device(fields, |device| {
            let mut change: pm_change = zeroed();
            let ids = [device.device_id, 7];
            let mut intent: pm_intent = zeroed();
            intent.struct_size = size_of::<pm_intent>();
            (intent.number, intent.kind) = (device.generation, device.state);
            (intent.name, intent.name_len) = (device.name, device.name_len);
            intent.device_id = device.device_id;
            change.kind = (*kind).into();
            (change.ids, change.id_count) = (ids.as_ptr(), (device.size % 3) as usize);
            change.intent = &mut intent;
            change.device = device;
            made.push(change);
            self.apply_from(rest, made)
        })
    }

    fn end(&mut self) {
        // SAFETY: each handle is given back once: closing a store leaves its handle to the next
        // opening.
        unsafe {
            pm_update_abort(std::mem::replace(&mut self.update, null_mut()));
            pm_walk_close(std::mem::replace(&mut self.walk, null_mut()));
            if !self.opened.is_null() {
                let status = pm_close(self.opened, null_mut());
                assert!(status == PM_OK || status == PM_ERR_CLOSED, "{status}");
            }
        }
    }
}

fuzz_target!(|calls: Vec<Call>| {
    let mut program = Program {
        store: null_mut(),
        opened: null_mut(),
        walk: null_mut(),
        update: null_mut(),
        device: null_mut(),
        error: zeroed(),
    };
    program.error.struct_size = size_of::<pm_error>();
    assert_eq!(program.reopen(), PM_OK);
    for call in calls.iter().take(40) {
        let status = program.run(call);
        assert_ne!(status, PM_ERR_INTERNAL, "{call:?}");
        assert_ne!(status, PM_ERR_CORRUPT, "{call:?}");
    }
    assert_eq!(program.reopen(), PM_OK);
    // SAFETY: the store is open.
    assert_eq!(unsafe { pm_verify(program.store, null_mut()) }, PM_OK);
    program.end();
    let _ = std::fs::remove_file(path());
    let _ = std::fs::remove_file(directory().join("pool.db-lock"));
});
