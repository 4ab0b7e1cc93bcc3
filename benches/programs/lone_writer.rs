//! A lone writer, for a profiler or an instruction counter: `lone_writer FILE COUNT`.
//!
//! It makes a store at FILE, which must not exist, adds COUNT devices and updates each of them.
use pool_metadata::{DeviceInfo, DeviceState, Error, PoolMetadata};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, file, count] = &arguments[..] else {
        panic!("usage: lone_writer FILE COUNT");
    };
    let store = PoolMetadata::open(file).unwrap();
    let count = count.parse().unwrap();
    for n in 0..count {
        let mut device = DeviceInfo::new(name(n));
        device.parent_name = name(0);
        device.size = 10 << 30;
        store.add_device(&mut device).unwrap();
    }
    for n in 0..count {
        store
            .update_device(name(n * 7919 % count), |device| {
                device.state = DeviceState::Activated;
                Ok::<(), Error>(())
            })
            .unwrap();
    }
}

fn name(n: u64) -> Vec<u8> {
    format!("containerd-pool-snap-{n:06}").into_bytes()
}
