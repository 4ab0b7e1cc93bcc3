//! The steps that a victim takes until it is killed, and what they leave. c-tests/victim.c and
//! go-binding/internal/victim take the same steps.

use crate::common::device;
use pool_metadata::{Change, DeviceInfo, DeviceState, PoolMetadata, Result};
use std::collections::BTreeMap;

const LARGE: usize = 20_000;

/// The state, and the length of the error text, of each device by its name.
pub type Devices = BTreeMap<Vec<u8>, (DeviceState, usize)>;

fn name(prefix: &str, step: usize, suffix: &str) -> Vec<u8> {
    format!("{prefix}-{}{suffix}", step / 8).into_bytes()
}

fn large_len(step: usize) -> usize {
    match step / 8 % 4 {
        3 => LARGE,
        _ => 0,
    }
}

/// Takes one step.
pub fn take(store: &PoolMetadata, prefix: &str, step: usize) -> Result<()> {
    let name = |suffix| name(prefix, step, suffix);
    let (own, a, b) = (name(""), name("-a"), name("-b"));
    let add = |name, text_len| {
        Change::Add(DeviceInfo {
            error: vec![b'e'; text_len],
            ..device(name)
        })
    };
    let apply = |changes: &[Change]| store.apply(changes).map(drop).map_err(Into::into);
    match step % 8 {
        0 => store.add_device(&mut device(own)),
        1 => store.update_device(own, |device| {
            device.error = vec![b'e'; step * 97 % 5000];
            Ok(())
        }),
        2 => apply(&[
            add(a, 0),
            add(b, 0),
            Change::ChangeState {
                name: own,
                state: DeviceState::Activated,
            },
        ]),
        3 => store.walk_devices(|_| Ok(())),
        4 => store.mark_faulty(a),
        5 => store.change_device_state(b, DeviceState::Suspended),
        6 => apply(&[Change::Remove { name: b }, add(name("-L"), large_len(step))]),
        _ if (step / 8).is_multiple_of(2) => store.remove_device(own),
        _ => store.add_device(&mut device(a)),
    }
}

/// The devices after that many steps.
pub fn left(prefix: &str, steps: usize) -> Devices {
    let mut devices = Devices::new();
    for step in 0..steps {
        let name = |suffix| name(prefix, step, suffix);
        let new = (DeviceState::Created, 0);
        let mut set = |suffix, state| devices.get_mut(&name(suffix)).unwrap().0 = state;
        match step % 8 {
            0 => drop(devices.insert(name(""), new)),
            1 => devices.get_mut(&name("")).unwrap().1 = step * 97 % 5000,
            2 => {
                set("", DeviceState::Activated);
                devices.insert(name("-a"), new);
                devices.insert(name("-b"), new);
            }
            3 => {}
            4 => set("-a", DeviceState::Faulty),
            5 => set("-b", DeviceState::Suspended),
            6 => {
                devices.remove(&name("-b"));
                let large = (DeviceState::Created, large_len(step));
                devices.insert(name("-L"), large);
            }
            _ if (step / 8).is_multiple_of(2) => drop(devices.remove(&name(""))),
            _ => drop(devices.insert(name("-a"), new)),
        }
    }
    devices
}
