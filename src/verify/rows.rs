//! Do the rows add up? Every invariant of docs/design.md, recomputed from the rows of one snapshot.

use crate::device::MAX_DEVICE_ID;
use crate::digest::{self, Table};
use crate::env::Snapshot;
use crate::error::{Error, Quoted, Result};
use crate::header::{Header, Parsed};
use crate::ids::{self, IdState};
use crate::record;

/// A set of device ids, one bit each.
struct IdSet(Vec<u64>);

impl IdSet {
    fn up_to(last: u32) -> IdSet {
        IdSet(vec![0; last as usize / 64 + 1])
    }

    /// Adds `id`; false if it was there.
    fn insert(&mut self, id: u32) -> bool {
        let (word, bit) = (&mut self.0[id as usize / 64], 1 << (id % 64));
        let fresh = *word & bit == 0;
        *word |= bit;
        fresh
    }

    fn contains(&self, id: u32) -> bool {
        self.0[id as usize / 64] & 1 << (id % 64) != 0
    }
}

/// What the rows add up to, to be held against the header.
struct Sums {
    header: Header,
    owned: IdSet,
    free: IdSet,
    faulty: IdSet,
    found: Header,
}

/// The header row of this snapshot, decoded.
pub(crate) fn header(snapshot: &Snapshot) -> Result<Header> {
    match snapshot.header_row()?.map(Header::parse) {
        Some(Parsed::Known(header)) if header.last_id <= MAX_DEVICE_ID => Ok(header),
        _ => Err(Error::corrupt("its header row is damaged").at(snapshot.env().path())),
    }
}

/// Holds the number of rows that LMDB counts against the header: a few reads, however large the store.
pub(crate) fn verify_counts(snapshot: &Snapshot) -> Result<()> {
    let header = header(snapshot)?;
    let ids = u64::from(header.free_ids) + u64::from(header.faulty_ids);
    let counted = [
        snapshot.entries(Table::Devices)?,
        snapshot.entries(Table::Ids)?,
    ];
    if counted != [header.devices.into(), ids] {
        let what = format!(
            "it has {} devices and {} id rows where its header says {} and {ids}",
            counted[0], counted[1], header.devices
        );
        return Err(Error::corrupt(what).at(snapshot.env().path()));
    }
    Ok(())
}

/// Reads every row and checks every invariant.
pub(crate) fn verify_all(snapshot: &Snapshot) -> Result<()> {
    let header = header(snapshot)?;
    let mut sums = Sums {
        owned: IdSet::up_to(header.last_id),
        free: IdSet::up_to(header.last_id),
        faulty: IdSet::up_to(header.last_id),
        found: Header {
            commit: header.commit,
            last_id: header.last_id,
            ..Header::default()
        },
        header,
    };
    snapshot
        .each_row(Table::Devices, |key, value| sums.device(key, value))
        .and_then(|()| snapshot.each_row(Table::Ids, |key, value| sums.id(key, value)))
        .and_then(|()| sums.conclude())
        .map_err(|e| e.at(snapshot.env().path()))
}

impl Sums {
    fn device(&mut self, name: &[u8], value: &[u8]) -> Result<()> {
        let device = record::decode(name, value)?;
        let what =
            |problem: String| Err(Error::corrupt(format!("device {} {problem}", Quoted(name))));
        if device.device_id == 0 || device.device_id > self.header.last_id {
            return what(format!(
                "has id {}, and ids were given out only up to {}",
                device.device_id, self.header.last_id
            ));
        }
        if device.generation > self.header.commit {
            return what(format!(
                "was written by commit {}, and the last was {}",
                device.generation, self.header.commit
            ));
        }
        if !self.owned.insert(device.device_id) {
            return what(format!(
                "has id {}, which another device has as well",
                device.device_id
            ));
        }
        self.found.devices += 1;
        self.add(Table::Devices, name, value);
        Ok(())
    }

    fn id(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let (state, id) = ids::decode(key, value)?;
        if id == 0 || id > self.header.last_id {
            return Err(Error::corrupt(format!(
                "id {id} has a state and was never given out"
            )));
        }
        match state {
            IdState::Free => {
                self.free.insert(id);
                self.found.free_ids += 1;
            }
            IdState::Faulty => {
                self.faulty.insert(id);
                self.found.faulty_ids += 1;
            }
        }
        self.add(Table::Ids, key, value);
        Ok(())
    }

    fn add(&mut self, table: Table, key: &[u8], value: &[u8]) {
        let share = digest::row(table, key, value);
        self.found.digest = self.found.digest.wrapping_add(share);
    }

    fn conclude(&self) -> Result<()> {
        for id in 1..=self.header.last_id {
            let [owned, free, faulty] =
                [&self.owned, &self.free, &self.faulty].map(|set| set.contains(id));
            let problem = match (owned, free, faulty) {
                (true, true, _) => "is free, and a device has it",
                (_, true, true) => "is free and faulty at once",
                (false, false, false) => "is taken, and no device has it",
                _ => continue,
            };
            return Err(Error::corrupt(format!("id {id} {problem}")));
        }
        if self.found != self.header {
            return Err(Error::corrupt(format!(
                "its rows add up to {:?} where its header says {:?}",
                self.found, self.header
            )));
        }
        Ok(())
    }
}
