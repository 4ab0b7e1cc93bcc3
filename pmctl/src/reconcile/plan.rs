//! What settles a difference: changes of the store, made in one commit, and commands for the pool.

use std::collections::BTreeSet;

use pool_metadata::{Change, DeviceInfo};

use super::{Difference, Given};
use crate::text;

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Remove the record of a device, which frees its id.
    RemoveRecord(DeviceInfo),
    /// Keep an id that no device has out of use.
    MarkFaulty(u32),
    /// Free faulty ids that no device has, from the first to the last.
    Free(u32, u32),
    /// Deactivate a device in the kernel.
    Deactivate(Vec<u8>),
    /// Delete a device from the pool.
    Delete(u32),
}

impl Action {
    /// What it does, for people.
    pub fn words(&self) -> String {
        match self {
            Action::RemoveRecord(device) => {
                format!("remove the record of {}", text::word(&device.name))
            }
            Action::MarkFaulty(id) => format!("make id {id} faulty, so that it is not given out"),
            Action::Free(first, last) if first == last => format!("free id {first}"),
            Action::Free(first, last) => format!("free the ids {first}-{last}"),
            Action::Deactivate(name) => format!("deactivate {}", text::word(name)),
            Action::Delete(id) => format!("delete id {id} from the pool"),
        }
    }

    /// Whether it changes the store. The others are commands to run.
    pub fn is_stores(&self) -> bool {
        matches!(
            self,
            Action::RemoveRecord(_) | Action::MarkFaulty(_) | Action::Free(..)
        )
    }

    /// The command for the pool, if it is one and the name can be typed.
    fn command(&self, pool: &str) -> Option<String> {
        match self {
            Action::Deactivate(name) => {
                let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._+-".contains(byte);
                let typed = !name.starts_with(b"-") && name.iter().all(plain);
                typed.then(|| format!("dmsetup remove {}", String::from_utf8_lossy(name)))
            }
            Action::Delete(id) => Some(format!(
                "dmsetup message /dev/mapper/{pool} 0 'delete {id}'"
            )),
            _ => None,
        }
    }
}

/// The changes of the store, in an order in which none undoes another. A record that has been
/// written since it was read is not removed, and then nothing is changed.
pub fn changes(differences: &[Difference], given: &Given) -> Vec<Change> {
    let actions = || {
        differences
            .iter()
            .flat_map(|difference| &difference.actions)
    };
    let mut changes = Vec::new();
    if actions().any(|action| matches!(action, Action::Free(..))) {
        let pool = given.pool.iter().flat_map(|pool| pool.iter());
        changes.push(Change::FreeFaultyIds {
            except: pool.map(|device| device.id).collect(),
        });
    }
    let mut marked = BTreeSet::new();
    for action in actions() {
        match action {
            Action::RemoveRecord(device) => {
                changes.push(Change::Update(device.clone()));
                changes.push(Change::Remove {
                    name: device.name.clone(),
                });
            }
            Action::MarkFaulty(id) => {
                marked.insert(*id);
            }
            _ => {}
        }
    }
    if !marked.is_empty() {
        changes.push(Change::MarkIdsFaulty {
            ids: marked.into_iter().collect(),
        });
    }
    changes
}

/// The commands for the pool.
pub fn commands(differences: &[Difference], pool: &str) -> Vec<String> {
    let actions = differences
        .iter()
        .flat_map(|difference| &difference.actions);
    actions.filter_map(|action| action.command(pool)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_shell_would_read_otherwise_make_no_command() {
        let of = |name: &[u8]| Action::Deactivate(name.to_vec()).command("p");
        assert_eq!(of(b"p-snap-1").unwrap(), "dmsetup remove p-snap-1");
        for name in [&b"a;b"[..], b"$(x)", b"-rf", b"a b", b"\xff", b"'"] {
            assert_eq!(of(name), None);
        }
        let delete = Action::Delete(7).command("thin").unwrap();
        assert_eq!(delete, "dmsetup message /dev/mapper/thin 0 'delete 7'");
    }
}
