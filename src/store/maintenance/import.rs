//! Taking a whole pool over from another store, and the ids that another store needs to take this
//! one over.

use crate::device::DeviceRef;
use crate::device_ids::Ids;
use crate::error::{Error, Quoted, Result};
use crate::format::id_ledger::IdLedger;
use crate::format::id_row::IdState;
use crate::format::journal_row::IntentRow;
use crate::format::table::Table;
use crate::format::{id_row, record};
use crate::journal::{Intent, JournalContent};
use crate::limits::MAX_DEVICE_ID;
use crate::lmdb::write::Step;
use crate::store::journal::check_identity;
use crate::store::walk::Walk;
use crate::store::write::batch::Batch;
use crate::store::write::ids;
use crate::store::write::journal;
use crate::store::write::op::Op;
use crate::store::write::pool::Pool;

impl Walk {
    /// The state of all device ids at the moment when the walk began.
    ///
    /// # Errors
    /// Those of [`Walk::next_ref`].
    pub fn ids(&self) -> Result<Ids> {
        let snapshot = self.snapshot();
        let mut all = Ids {
            last_id: crate::lmdb::snapshot::header(snapshot)?.last_id,
            ..Ids::default()
        };
        snapshot
            .each_row(Table::Ids, |key, value| {
                match id_row::decode(key, value)? {
                    (IdState::Free, id) => all.free.push(id),
                    (IdState::Faulty, id) => all.faulty.push(id),
                }
                Ok(())
            })
            .map_err(|e| e.at(snapshot.env().path()))?;
        Ok(all)
    }
}

impl Pool {
    /// Fills an empty store in one commit; see
    /// [`PoolMetadata::import`](super::PoolMetadata::import).
    pub fn import(&self, devices: &[DeviceRef<'_>], ids: &Ids) -> Result<()> {
        self.fill(devices, ids, &JournalContent::default())
    }

    /// Fills an empty store in one commit; see
    /// [`PoolMetadata::import_with_journal`](super::PoolMetadata::import_with_journal).
    pub fn import_with_journal(
        &self,
        devices: &[DeviceRef<'_>],
        ids: &Ids,
        identity: Option<&[u8]>,
        intents: &[Intent],
    ) -> Result<()> {
        identity.map_or(Ok(()), check_identity)?;
        let mut begun = intents.iter().map(IntentRow::of).map(Op::BeginIntent);
        begun.try_for_each(|op| op.check())?;
        self.fill(devices, ids, &JournalContent::new(identity, intents))
    }

    /// Fills an empty store, whose journal gets this as well, in one commit.
    pub fn fill(
        &self,
        devices: &[DeviceRef<'_>],
        ids: &Ids,
        journal: &JournalContent,
    ) -> Result<()> {
        self.check_not_in_update()?;
        check(devices, ids)?;
        let mut value = Vec::new();
        self.env.check_writable()?;
        self.commit_alone(&self.env.lock_wait(), |txn| {
            let mut batch = Batch::begin(txn)?;
            if batch.header.last_id != 0 || batch.header.devices != 0 {
                return Err(Error::NotEmpty {
                    path: self.env.path().into(),
                }
                .into());
            }
            batch.txn.grow_store();
            fill(&mut batch, devices, ids, &mut value)?;
            journal::fill(&mut batch, journal, &mut value)?;
            batch.finish()
        })
    }
}

fn fill(
    batch: &mut Batch<'_, '_>,
    devices: &[DeviceRef<'_>],
    ids: &Ids,
    value: &mut Vec<u8>,
) -> Step<()> {
    let generation = batch.header.commit;
    for device in devices {
        record::encode(
            &DeviceRef {
                generation,
                ..*device
            },
            value,
        )?;
        batch.append(Table::Devices, device.name, value)?;
    }
    ids::fill(batch, &ids.free, &ids.faulty)?;
    batch.header.last_id = ids.last_id;
    batch.header.devices = devices.len() as u32;
    Ok(())
}

/// Refuses devices and ids that would not make a sound store.
fn check(devices: &[DeviceRef<'_>], ids: &Ids) -> Result<()> {
    if ids.last_id > MAX_DEVICE_ID {
        return invalid(format!(
            "last id {} is larger than {MAX_DEVICE_ID}",
            ids.last_id
        ));
    }
    let ledger = IdLedger::up_to(ids.last_id);
    for (list, state) in [(&ids.free, IdState::Free), (&ids.faulty, IdState::Faulty)] {
        check_list(list, state, ids.last_id, &ledger)?;
    }
    check_devices(devices, ids.last_id, &ledger)?;
    // The ids that contradict each other were refused above.
    let unclaimed = ledger.contradictions(ids.last_id).next();
    unclaimed.map_or(Ok(()), |(id, _)| {
        invalid(format!(
            "id {id} is neither free nor faulty, and no device has it"
        ))
    })
}

fn check_list(list: &[u32], state: IdState, last: u32, ledger: &IdLedger) -> Result<()> {
    if !list.is_sorted_by(|a, b| a < b) {
        return invalid(format!("the {state:?} ids are not in ascending order"));
    }
    for &id in list {
        if id == 0 || id > last {
            return invalid(format!("id {id} is not from 1 to {last}"));
        }
        ledger.put(state, id);
        let claims = ledger.claims(id);
        if claims.free && claims.faulty {
            return invalid(format!("id {id} is both free and faulty"));
        }
    }
    Ok(())
}

fn check_devices(devices: &[DeviceRef<'_>], last: u32, ledger: &IdLedger) -> Result<()> {
    let mut previous: &[u8] = b"";
    for device in devices {
        device.check()?;
        let name = Quoted(device.name);
        if device.name <= previous {
            return invalid(format!(
                "device {name} is listed twice, or not in the order of names"
            ));
        }
        previous = device.name;
        let id = device.device_id;
        if id == 0 {
            return invalid(format!("device {name} has id 0, which is out of range"));
        }
        if id > last {
            return invalid(format!(
                "device {name} has id {id}, beyond the last, which is {last}"
            ));
        }
        if ledger.claims(id).free {
            return invalid(format!("device {name} has the free id {id}"));
        }
        if !ledger.own(id) {
            return invalid(format!(
                "device {name} has id {id}, which another device has as well"
            ));
        }
    }
    Ok(())
}

fn invalid(what: String) -> Result<()> {
    Err(Error::InvalidImport { what })
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::journal::IntentKind;
    use crate::limits::{MAX_IDENTITY_LEN, MAX_INTENTS};
    use crate::store::options::OpenOptions;
    use crate::store::PoolMetadata;
    use crate::sync::commit_queue::Entered;

    #[test]
    fn identity_and_intents_are_imported_in_the_commit_of_the_devices() {
        let directory = tempfile::tempdir().unwrap();
        let store = PoolMetadata::open(directory.path().join("pool.db")).unwrap();
        store.set_identity(Some(b"old")).unwrap();
        let intent = Intent::new(IntentKind::Delete, "a", 7, 42);
        store.begin_intent(&intent).unwrap();
        let ids = Ids {
            last_id: 1,
            faulty: vec![1],
            ..Ids::default()
        };
        let other = Intent {
            number: 1,
            commit: 99,
            ..intent
        };
        let intents = [other.clone(), other.clone()];
        store
            .import_with_journal(&[], &ids, Some(b"new"), &intents)
            .unwrap();
        assert_eq!(store.stats().unwrap().commits, 3);
        assert_eq!(store.identity().unwrap().as_deref(), Some(&b"new"[..]));
        let expected = [(1, 2), (2, 3), (3, 3)].map(|(number, commit)| Intent {
            number,
            commit,
            ..other.clone()
        });
        assert_eq!(store.intents().unwrap(), expected);
        store.verify().unwrap();
    }

    #[test]
    fn identity_or_intent_that_no_store_can_have_is_refused_and_nothing_is_imported() {
        let directory = tempfile::tempdir().unwrap();
        let store = PoolMetadata::open(directory.path().join("pool.db")).unwrap();
        let ids = Ids {
            last_id: 1,
            free: vec![1],
            ..Ids::default()
        };
        let import = |identity: Option<&[u8]>, intents: &[Intent]| {
            let refused = store.import_with_journal(&[], &ids, identity, intents);
            assert_eq!(store.stats().unwrap().commits, 0);
            refused.unwrap_err()
        };
        for identity in [&b""[..], &[b'i'; MAX_IDENTITY_LEN + 1]] {
            let refused = import(Some(identity), &[]);
            assert!(matches!(refused, Error::InvalidOption { .. }), "{refused}");
        }
        let intent = |name: &str, id| Intent::new(IntentKind::Create, name, id, 0);
        let refused = import(None, &[intent("a", 1), intent("", 1)]);
        assert!(matches!(refused, Error::InvalidName { .. }), "{refused}");
        let refused = import(None, &[intent("a", 1 << 24)]);
        assert!(matches!(refused, Error::InvalidId { .. }), "{refused}");
        let many = vec![intent("a", 1); MAX_INTENTS as usize + 1];
        let refused = import(None, &many);
        assert!(matches!(refused, Error::TooManyIntents { .. }), "{refused}");
        assert_eq!(store.stats().unwrap().last_id, 0);
        store.verify().unwrap();
    }

    #[test]
    fn import_waits_for_its_turn_in_the_commit_queue() {
        let directory = tempfile::tempdir().unwrap();
        let store = OpenOptions::new()
            .lock_wait(Duration::from_millis(300))
            .open(directory.path().join("pool.db"))
            .unwrap();
        let pool = store.pool();
        let ids = Ids {
            last_id: 1,
            free: vec![1],
            ..Ids::default()
        };
        let deadline = pool.env.deadline();
        let Some(Entered::Leader(lead)) = pool.queue.enter_alone(&deadline, || false) else {
            panic!("nobody else is there to lead");
        };
        let result = store.import(&[], &ids);
        assert!(matches!(result, Err(Error::Timeout { .. })), "{result:?}");
        assert_eq!(store.stats().unwrap().last_id, 0);
        drop(lead);
        store.import(&[], &ids).unwrap();
        assert_eq!(store.stats().unwrap().last_id, 1);
    }
}
