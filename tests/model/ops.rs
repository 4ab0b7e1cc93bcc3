//! Operations to try on a store, drawn from small alphabets so that they meet.

use pool_metadata::capi::{PM_VERIFY_FULL, PM_VERIFY_NONE, PM_VERIFY_QUICK};
use pool_metadata::{
    Change, DeviceInfo, DeviceState, Intent, IntentKind, PoolDevice, PoolState, WalkFilter,
    MAX_ERROR_LEN, MAX_NAME_LEN,
};
use proptest::prelude::*;
use proptest::sample::select;

/// One thing that is done to a store.
#[derive(Clone, Debug)]
pub enum Op {
    Add(DeviceInfo),
    ChangeState(Vec<u8>, DeviceState),
    MarkFaulty(Vec<u8>),
    Remove(Vec<u8>),
    Get(Vec<u8>),
    Update(Vec<u8>, Edit),
    /// Begin an update and keep it while other operations run.
    Begin(Vec<u8>),
    /// Commit one of those that were begun.
    Commit(prop::sample::Index, Edit),
    /// Abort one of those that were begun.
    Abort(prop::sample::Index),
    /// Walk until so many devices were shown; the callback does this when it sees the first.
    Walk(usize, Option<Box<Op>>),
    /// Replace the device's id, or one that is so far from it.
    ReplaceId(Vec<u8>, u32),
    FreeId(u32),
    FreeFaultyIds(Vec<u32>),
    MarkIdsFaulty(Vec<u32>),
    MarkIdsFaultyUpTo(u32),
    BeginIntent(Intent),
    FinishIntent(u64),
    /// Compare with this, and apply what was found, but a quarter of it.
    Reconcile(PoolState, usize),
    ById(u32),
    Filtered(WalkFilter),
    /// Do this, which is a write, through the handle for deferred writes.
    Deferred(Box<Op>),
    Reopen {
        /// One of `PM_VERIFY_*`.
        verify: i32,
        /// Open it read-only in between.
        read_only_between: bool,
    },
}

/// What an update does to the record.
#[derive(Clone, Debug)]
pub enum Edit {
    Set(DeviceInfo),
    State(DeviceState),
    /// Change it and fail with that code, which is not 0, then.
    Fail(i32),
    Rename(Vec<u8>),
    ChangeId(u32),
    /// Try to write to the store, which has to be refused, and go on.
    WriteInside(Vec<u8>, DeviceState),
}

impl Edit {
    /// Changes the record; an error is the callback's own.
    pub fn apply(&self, device: &mut DeviceInfo) -> Result<(), i32> {
        match self {
            Edit::Set(new) => {
                device.size = new.size;
                device.parent_name.clone_from(&new.parent_name);
                device.state = new.state;
                device.error.clone_from(&new.error);
                device.generation = new.generation; // must not matter
            }
            Edit::State(state) | Edit::WriteInside(_, state) => device.state = *state,
            Edit::Fail(code) => {
                device.size = 0;
                device.name.push(b'x');
                return Err(*code);
            }
            Edit::Rename(name) => device.name.clone_from(name),
            Edit::ChangeId(by) => device.device_id = device.device_id.wrapping_add(*by),
        }
        Ok(())
    }
}

/// A device's name: few, so that they collide; among them the longest and bytes that are no text.
/// Now and then one that no device can have.
pub fn name() -> BoxedStrategy<Vec<u8>> {
    let long = |last| {
        let mut name = vec![b'n'; MAX_NAME_LEN];
        name[MAX_NAME_LEN - 1] = last;
        name
    };
    let good = vec![
        b"a".to_vec(),
        b"b".to_vec(),
        b"base".to_vec(),
        b"snap/1".to_vec(),
        b"\xff\xfe\x80".to_vec(),
        b"\x01".to_vec(),
        long(b'x'),
        long(0xff),
    ];
    let bad = vec![
        b"".to_vec(),
        b"a\0b".to_vec(),
        b"\0".to_vec(),
        vec![b'n'; MAX_NAME_LEN + 1],
        vec![b'n'; 70_000],
    ];
    prop_oneof![30 => select(good), 1 => select(bad)].boxed()
}

pub fn state() -> BoxedStrategy<DeviceState> {
    // Faulty is where the rules are.
    prop_oneof![3 => select(&DeviceState::ALL[..]), 1 => Just(DeviceState::Faulty)].boxed()
}

/// An error text: mostly short, at times beyond a page, rarely at the limit or past it.
fn text() -> BoxedStrategy<Vec<u8>> {
    let lengths = prop_oneof![
        300 => Just(0),
        200 => 1..60_usize,
        50 => 1_500..9_000_usize,
        5 => 60_000..90_000_usize,
        1 => Just(MAX_ERROR_LEN),
        1 => Just(MAX_ERROR_LEN + 1),
    ];
    (lengths, any::<u8>())
        .prop_map(|(len, byte)| vec![byte; len])
        .boxed()
}

pub fn device() -> BoxedStrategy<DeviceInfo> {
    let size = prop_oneof![Just(0), Just(u64::MAX), any::<u64>(), 1..1000_u64];
    let parent = prop_oneof![Just(Vec::new()), name()];
    // The store must not look at the id and the generation that it is given.
    let ignored = (any::<u32>(), any::<u64>());
    (name(), size, parent, state(), text(), ignored)
        .prop_map(
            |(name, size, parent_name, state, error, (device_id, generation))| DeviceInfo {
                name,
                device_id,
                size,
                parent_name,
                state,
                error,
                generation,
            },
        )
        .boxed()
}

fn edit() -> BoxedStrategy<Edit> {
    prop_oneof![
        8 => device().prop_map(Edit::Set),
        4 => state().prop_map(Edit::State),
        3 => any::<i32>().prop_map(|code| Edit::Fail(if code == 0 { 1 } else { code })),
        1 => name().prop_map(Edit::Rename),
        1 => any::<u32>().prop_map(Edit::ChangeId),
        2 => (name(), state()).prop_map(|(name, state)| Edit::WriteInside(name, state)),
    ]
    .boxed()
}

/// A write that is over when it returns.
fn write() -> BoxedStrategy<Op> {
    let by = prop_oneof![6 => Just(0), 1 => 1..3_u32];
    prop_oneof![
        10 => device().prop_map(Op::Add),
        4 => (name(), state()).prop_map(|(name, state)| Op::ChangeState(name, state)),
        5 => name().prop_map(Op::MarkFaulty),
        6 => name().prop_map(Op::Remove),
        6 => (name(), edit()).prop_map(|(name, edit)| Op::Update(name, edit)),
        3 => (name(), by).prop_map(|(name, by)| Op::ReplaceId(name, by)),
        3 => id().prop_map(Op::FreeId),
        1 => prop::collection::vec(id(), 0..4).prop_map(Op::FreeFaultyIds),
        2 => prop::collection::vec(id(), 0..4).prop_map(Op::MarkIdsFaulty),
        1 => id().prop_map(Op::MarkIdsFaultyUpTo),
        2 => intent().prop_map(Op::BeginIntent),
        2 => (0..6_u64).prop_map(Op::FinishIntent),
        3 => (pool(), 0..4_usize).prop_map(|(pool, left_out)| Op::Reconcile(pool, left_out)),
    ]
    .boxed()
}

/// What may be known of a pool: few of the ids and names that the store may have, or most.
fn pool() -> BoxedStrategy<PoolState> {
    let some = |ids: Vec<u32>| prop::sample::subsequence(ids.clone(), 0..=ids.len());
    let devices = prop_oneof![
        20 => some((0..20).collect()),
        1 => prop::collection::vec(id(), 0..4),
    ];
    let devices = devices.prop_map(|ids| {
        let device = |device_id| PoolDevice {
            device_id,
            ..PoolDevice::default()
        };
        ids.into_iter().map(device).collect::<Vec<_>>()
    });
    let snapshots = prop::collection::vec(name(), 0..8);
    let known = (
        prop::option::weighted(0.7, devices),
        prop::option::weighted(0.7, snapshots),
        prop::option::of(0..60_u64),
    );
    known
        .prop_map(|(devices, snapshots, commit)| PoolState {
            devices,
            snapshots,
            commit,
        })
        .boxed()
}

/// A device id: few, so that they meet; now and then one that is no store's, or no pool's.
fn id() -> BoxedStrategy<u32> {
    let none = vec![0, 0xff_ffff, 1 << 24, u32::MAX];
    prop_oneof![40 => 1..20_u32, 1 => select(none)].boxed()
}

fn intent() -> BoxedStrategy<Intent> {
    (select(&IntentKind::ALL[..]), name(), id(), any::<u64>())
        .prop_map(|(kind, name, id, transaction)| Intent::new(kind, name, id, transaction))
        .boxed()
}

fn filter() -> BoxedStrategy<WalkFilter> {
    let states = prop::collection::vec(state(), 0..3);
    let parent = prop::option::of(prop_oneof![Just(Vec::new()), name()]);
    (states, parent, 0..6_u32, 0..20_u32, 0..60_u64)
        .prop_map(|(states, parent, first, last, since)| WalkFilter {
            states,
            parent,
            // In C, 0 stands for no limit.
            ids: first..=if last == 0 { u32::MAX } else { last },
            since,
        })
        .boxed()
}

/// The operation as one change of a list; `read` reads the record of an update.
pub fn change(op: &Op, read: impl Fn(&[u8]) -> Option<DeviceInfo>) -> Option<Change> {
    Some(match op {
        Op::Add(device) => Change::Add(device.clone()),
        Op::ChangeState(name, state) => Change::ChangeState {
            name: name.clone(),
            state: *state,
        },
        Op::MarkFaulty(name) => Change::MarkFaulty { name: name.clone() },
        Op::Remove(name) => Change::Remove { name: name.clone() },
        Op::Update(name, edit) => {
            let mut device = read(name)?;
            let _ = edit.apply(&mut device);
            Change::Update(device)
        }
        Op::ReplaceId(name, by) => Change::ReplaceId {
            name: name.clone(),
            device_id: read(name).map_or(1, |device| device.device_id.wrapping_add(*by)),
        },
        Op::FreeId(device_id) => Change::FreeId {
            device_id: *device_id,
        },
        Op::FreeFaultyIds(except) => Change::FreeFaultyIds {
            except: except.clone(),
        },
        Op::MarkIdsFaulty(ids) => Change::MarkIdsFaulty { ids: ids.clone() },
        Op::MarkIdsFaultyUpTo(last) => Change::MarkIdsFaultyUpTo { last: *last },
        Op::BeginIntent(intent) => Change::BeginIntent(intent.clone()),
        Op::FinishIntent(number) => Change::FinishIntent { number: *number },
        _ => return None,
    })
}

pub fn op() -> BoxedStrategy<Op> {
    let pick = any::<prop::sample::Index>;
    let walk = (0..12_usize, prop::option::of(write()))
        .prop_map(|(shown, inside)| Op::Walk(shown, inside.map(Box::new)));
    let verify = select(vec![PM_VERIFY_NONE, PM_VERIFY_QUICK, PM_VERIFY_FULL]);
    prop_oneof![
        30 => write(),
        6 => write().prop_map(|op| Op::Deferred(Box::new(op))),
        3 => name().prop_map(Op::Get),
        2 => id().prop_map(Op::ById),
        2 => filter().prop_map(Op::Filtered),
        4 => name().prop_map(Op::Begin),
        4 => (pick(), edit()).prop_map(|(which, edit)| Op::Commit(which, edit)),
        1 => pick().prop_map(Op::Abort),
        3 => walk,
        2 => (verify, any::<bool>()).prop_map(|(verify, read_only_between)| Op::Reopen {
            verify,
            read_only_between,
        }),
    ]
    .boxed()
}
