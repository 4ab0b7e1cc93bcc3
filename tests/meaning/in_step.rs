//! Device ids in step with the pool, changes of the pool that have begun, the pool's identity: the
//! calls, through Rust and through C.

use crate::c::types::{bytes, call, chars, from_c, Outcome};
use crate::c::CStore;
use crate::rust::RustStore;
use crate::subject::Store;
use pool_metadata::capi::*;
use pool_metadata::{DeviceInfo, IdFilter, Intent, IntentKind, WalkFilter};
use std::ptr;

/// Id, state (`PM_ID_*`), and the name of the device that has it.
pub type Id = (u32, i32, Option<Vec<u8>>);
/// The names, ids and commits of removals, whether they are all, and the newest commit.
pub type Gone = (Vec<(Vec<u8>, u32, u64)>, bool, u64);

/// A store that is kept in step with its pool.
pub trait InStep: Store {
    fn by_id(&self, id: u32) -> Outcome<DeviceInfo>;
    /// `states` has the bit n for `PM_ID_*` n, and 0 for all; a `last` of 0 is no limit.
    fn ids(&self, states: u32, first: u32, last: u32) -> Outcome<Vec<Id>>;
    fn free_id(&self, id: u32) -> Outcome<()>;
    fn free_faulty_ids(&self, except: &[u32]) -> Outcome<u64>;
    fn mark_ids_faulty(&self, ids: &[u32]) -> Outcome<u64>;
    fn mark_ids_faulty_up_to(&self, last: u32) -> Outcome<u64>;
    fn replace_id(&self, name: &[u8], id: u32) -> Outcome<u32>;
    fn filtered(&self, filter: &WalkFilter) -> Outcome<Vec<DeviceInfo>>;
    fn begin_intent(&self, intent: &Intent) -> Outcome<u64>;
    fn finish_intent(&self, number: u64) -> Outcome<()>;
    fn intents(&self) -> Outcome<Vec<Intent>>;
    fn removals(&self, since: u64) -> Outcome<Gone>;
    fn identity(&self) -> Outcome<Option<Vec<u8>>>;
    fn set_identity(&self, identity: Option<&[u8]>) -> Outcome<()>;
}

impl InStep for RustStore {
    fn by_id(&self, id: u32) -> Outcome<DeviceInfo> {
        Ok(self.0.get_device_by_id(id)?)
    }

    fn ids(&self, states: u32, first: u32, last: u32) -> Outcome<Vec<Id>> {
        let has = |state: i32| states == 0 || states & (1 << state) != 0;
        let list = self.0.list_ids(&IdFilter {
            free: has(PM_ID_FREE),
            taken: has(PM_ID_TAKEN),
            faulty: has(PM_ID_FAULTY),
            first,
            last: if last == 0 { u32::MAX } else { last },
        })?;
        assert_eq!(list.len(), list.iter().len());
        let ids = list.iter();
        let ids = ids.map(|id| (id.device_id, id.state as i32, id.name.map(<[u8]>::to_vec)));
        Ok(ids.collect())
    }

    fn free_id(&self, id: u32) -> Outcome<()> {
        Ok(self.0.free_id(id)?)
    }

    fn free_faulty_ids(&self, except: &[u32]) -> Outcome<u64> {
        Ok(self.0.free_faulty_ids(except)?)
    }

    fn mark_ids_faulty(&self, ids: &[u32]) -> Outcome<u64> {
        Ok(self.0.mark_ids_faulty(ids)?)
    }

    fn mark_ids_faulty_up_to(&self, last: u32) -> Outcome<u64> {
        Ok(self.0.mark_ids_faulty_up_to(last)?)
    }

    fn replace_id(&self, name: &[u8], id: u32) -> Outcome<u32> {
        Ok(self.0.replace_device_id(name, id)?)
    }

    fn filtered(&self, filter: &WalkFilter) -> Outcome<Vec<DeviceInfo>> {
        let walk = self.0.walk_filtered(filter)?;
        walk.map(|device| Ok(device?)).collect()
    }

    fn begin_intent(&self, intent: &Intent) -> Outcome<u64> {
        Ok(self.0.begin_intent(intent)?)
    }

    fn finish_intent(&self, number: u64) -> Outcome<()> {
        Ok(self.0.finish_intent(number)?)
    }

    fn intents(&self) -> Outcome<Vec<Intent>> {
        Ok(self.0.intents()?)
    }

    fn removals(&self, since: u64) -> Outcome<Gone> {
        let found = self.0.walk()?.removals(since)?;
        let removed = found.removed.into_iter();
        let removed = removed.map(|gone| (gone.name, gone.device_id, gone.commit));
        Ok((removed.collect(), found.complete, found.commit))
    }

    fn identity(&self) -> Outcome<Option<Vec<u8>>> {
        Ok(self.0.identity()?)
    }

    fn set_identity(&self, identity: Option<&[u8]>) -> Outcome<()> {
        Ok(self.0.set_identity(identity)?)
    }
}

/// Makes a call, whose last argument is the error struct.
macro_rules! c {
    ($function:ident($($argument:expr),* $(,)?)) => {
        // SAFETY: handles are the library's; texts and lists have the lengths that go with them;
        // structs say their sizes.
        call(|error| unsafe { $function($($argument,)* error) })
    };
}

impl InStep for CStore {
    fn by_id(&self, id: u32) -> Outcome<DeviceInfo> {
        let mut device = ptr::null_mut();
        c!(pm_get_device_by_id(self.0, id, &mut device))?;
        // SAFETY: a call that succeeds has made the block, which is read before it is freed.
        unsafe {
            let copy = from_c(&*device);
            pm_free(device.cast());
            Ok(copy)
        }
    }

    fn ids(&self, states: u32, first: u32, last: u32) -> Outcome<Vec<Id>> {
        let mut list = ptr::null_mut();
        c!(pm_list_ids(self.0, states, first, last, &mut list))?;
        // SAFETY: as above.
        unsafe {
            let ids = std::slice::from_raw_parts((*list).ids, (*list).count);
            let copy = ids.iter().map(|id| {
                assert_eq!(*id.name.add(id.name_len), 0);
                let name = (id.name_len > 0).then(|| bytes(id.name, id.name_len));
                (id.device_id, id.state, name)
            });
            let copy = copy.collect();
            pm_free(list.cast());
            Ok(copy)
        }
    }

    fn free_id(&self, id: u32) -> Outcome<()> {
        c!(pm_free_id(self.0, id))
    }

    fn free_faulty_ids(&self, except: &[u32]) -> Outcome<u64> {
        let mut freed = 77;
        c!(pm_free_faulty_ids(
            self.0,
            except.as_ptr(),
            except.len(),
            &mut freed
        ))?;
        Ok(freed)
    }

    fn mark_ids_faulty(&self, ids: &[u32]) -> Outcome<u64> {
        let mut marked = 77;
        c!(pm_mark_ids_faulty(
            self.0,
            ids.as_ptr(),
            ids.len(),
            &mut marked
        ))?;
        Ok(marked)
    }

    fn mark_ids_faulty_up_to(&self, last: u32) -> Outcome<u64> {
        let mut marked = 77;
        c!(pm_mark_ids_faulty_up_to(self.0, last, &mut marked))?;
        Ok(marked)
    }

    fn replace_id(&self, name: &[u8], id: u32) -> Outcome<u32> {
        let ((name, len), mut new_id) = (chars(name), 77);
        let outcome = c!(pm_replace_device_id(self.0, name, len, id, &mut new_id));
        assert!(outcome.is_ok() || new_id == 77, "written on success only");
        outcome.map(|()| new_id)
    }

    fn filtered(&self, filter: &WalkFilter) -> Outcome<Vec<DeviceInfo>> {
        let parent = filter.parent.as_deref().map_or((ptr::null(), 0), chars);
        let bits = filter.states.iter().map(|state| 1 << *state as u32);
        let filter = pm_filter {
            struct_size: size_of::<pm_filter>(),
            states: bits.fold(0, |all, bit| all | bit),
            first_id: *filter.ids.start(),
            last_id: *filter.ids.end(),
            parent_name: parent.0,
            parent_name_len: parent.1,
            since: filter.since,
        };
        let mut walk = ptr::null_mut();
        c!(pm_walk_open_filtered(self.0, &filter, &mut walk))?;
        crate::c::walk_of(walk).collect()
    }

    fn begin_intent(&self, intent: &Intent) -> Outcome<u64> {
        let (name, name_len) = chars(&intent.name);
        let mut given = pm_intent {
            struct_size: size_of::<pm_intent>(),
            number: 77,
            commit: 77,
            transaction_id: intent.transaction_id,
            kind: intent.kind as i32,
            device_id: intent.device_id,
            name,
            name_len,
        };
        let outcome = c!(pm_begin_intent(self.0, &mut given));
        assert!(outcome.is_ok() || (given.number, given.commit) == (77, 77));
        outcome.map(|()| given.number)
    }

    fn finish_intent(&self, number: u64) -> Outcome<()> {
        c!(pm_finish_intent(self.0, number))
    }

    fn intents(&self) -> Outcome<Vec<Intent>> {
        let mut list = ptr::null_mut();
        c!(pm_list_intents(self.0, &mut list))?;
        // SAFETY: as above.
        unsafe {
            let intents = std::slice::from_raw_parts((*list).intents, (*list).count);
            let copy = intents.iter().map(|intent| {
                let intent = &**intent;
                assert_eq!(intent.struct_size, size_of::<pm_intent>());
                assert_eq!(*intent.name.add(intent.name_len), 0);
                Intent {
                    number: intent.number,
                    kind: IntentKind::from_number(intent.kind.into()).unwrap(),
                    name: bytes(intent.name, intent.name_len),
                    device_id: intent.device_id,
                    transaction_id: intent.transaction_id,
                    commit: intent.commit,
                }
            });
            let copy = copy.collect();
            pm_free(list.cast());
            Ok(copy)
        }
    }

    fn removals(&self, since: u64) -> Outcome<Gone> {
        let (mut walk, mut removals) = (ptr::null_mut(), ptr::null_mut());
        c!(pm_walk_open(self.0, &mut walk))?;
        let outcome = c!(pm_walk_get_removals(walk, since, &mut removals));
        // SAFETY: the walk is not used again; the rest as above.
        unsafe {
            pm_walk_close(walk);
            outcome?;
            let removed = std::slice::from_raw_parts((*removals).removals, (*removals).count);
            let removed = removed.iter().map(|gone| {
                let gone = &**gone;
                assert_eq!(*gone.name.add(gone.name_len), 0);
                (bytes(gone.name, gone.name_len), gone.device_id, gone.commit)
            });
            let copy = removed.collect();
            let (complete, commit) = ((*removals).complete != 0, (*removals).commit);
            pm_free(removals.cast());
            Ok((copy, complete, commit))
        }
    }

    fn identity(&self) -> Outcome<Option<Vec<u8>>> {
        let mut identity: *mut pm_name = ptr::null_mut();
        c!(pm_get_identity(self.0, &mut identity))?;
        // SAFETY: as above, or NULL.
        unsafe {
            let copy = identity
                .as_ref()
                .map(|name| bytes(name.name, name.name_len));
            pm_free(identity.cast());
            Ok(copy)
        }
    }

    fn set_identity(&self, identity: Option<&[u8]>) -> Outcome<()> {
        let (identity, len) = identity.map_or((ptr::null(), 0), chars);
        c!(pm_set_identity(self.0, identity, len))
    }
}
