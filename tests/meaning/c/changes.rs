//! Lists of changes as the C functions take them.

use super::types::{chars, to_c};
use crate::subject::Applied;
use pool_metadata::capi::*;
use pool_metadata::{Change, DeviceInfo, Intent, IntentKind};
use std::ptr;

/// A list, with all that its changes point to.
pub struct List {
    pub changes: Vec<pm_change>,
    _targets: Vec<Target>,
}

/// What a change points to.
struct Target {
    kind: i32,
    info: DeviceInfo,
    ids: Vec<u32>,
    noted: Intent,
    device: pm_device,
    intent: pm_intent,
    changed: u64,
}

impl List {
    pub fn new(changes: &[Change]) -> List {
        let mut targets: Vec<_> = changes.iter().map(Target::new).collect();
        List {
            changes: targets.iter_mut().map(Target::change).collect(),
            _targets: targets,
        }
    }

    pub fn applied(&self) -> impl Iterator<Item = Applied> + '_ {
        // SAFETY: the targets of the changes are in the list.
        self.changes.iter().map(|change| unsafe { applied(change) })
    }
}

/// # Safety
/// What the change points to is there.
unsafe fn applied(change: &pm_change) -> Applied {
    // SAFETY: the kind says what the change points to; the other pointers are NULL.
    unsafe {
        match change.kind {
            PM_CHANGE_BEGIN_INTENT => (0, (*change.intent).number),
            PM_CHANGE_FINISH_INTENT => (0, 0),
            kind if kind >= PM_CHANGE_FREE_FAULTY_IDS => (0, *change.changed),
            _ => ((*change.device).device_id, (*change.device).generation),
        }
    }
}

impl Target {
    fn new(change: &Change) -> Target {
        let (mut info, mut ids) = (DeviceInfo::default(), Vec::new());
        let mut noted = Intent::new(IntentKind::Create, "", 0, 0);
        let kind = match change.clone() {
            Change::Add(device) => {
                info = device;
                PM_CHANGE_ADD
            }
            Change::Update(device) => {
                info = device;
                PM_CHANGE_UPDATE
            }
            Change::ChangeState { name, state } => {
                (info.name, info.state) = (name, state);
                PM_CHANGE_STATE
            }
            Change::MarkFaulty { name } => {
                info.name = name;
                PM_CHANGE_MARK_FAULTY
            }
            Change::Remove { name } => {
                info.name = name;
                PM_CHANGE_REMOVE
            }
            Change::ReplaceId { name, device_id } => {
                (info.name, info.device_id) = (name, device_id);
                PM_CHANGE_REPLACE_ID
            }
            Change::FreeId { device_id } => {
                info.device_id = device_id;
                PM_CHANGE_FREE_ID
            }
            Change::FreeFaultyIds { except } => {
                ids = except;
                PM_CHANGE_FREE_FAULTY_IDS
            }
            Change::MarkIdsFaulty { ids: given } => {
                ids = given;
                PM_CHANGE_MARK_IDS_FAULTY
            }
            Change::MarkIdsFaultyUpTo { last } => {
                ids = vec![last];
                PM_CHANGE_MARK_IDS_FAULTY_UP_TO
            }
            Change::BeginIntent(intent) => {
                noted = intent;
                PM_CHANGE_BEGIN_INTENT
            }
            Change::FinishIntent { number } => {
                noted.number = number;
                PM_CHANGE_FINISH_INTENT
            }
            other => panic!("a change of a new kind: {other:?}"),
        };
        Target {
            kind,
            device: to_c(&info),
            intent: pm_intent {
                struct_size: size_of::<pm_intent>(),
                number: noted.number,
                commit: 0,
                transaction_id: noted.transaction_id,
                kind: noted.kind as i32,
                device_id: noted.device_id,
                name: chars(&noted.name).0,
                name_len: noted.name.len(),
            },
            changed: 0,
            info,
            ids,
            noted,
        }
    }

    /// The change. What its kind does not use is not there.
    fn change(&mut self) -> pm_change {
        let kind = self.kind;
        let is_intent = matches!(kind, PM_CHANGE_BEGIN_INTENT | PM_CHANGE_FINISH_INTENT);
        let has_ids = kind >= PM_CHANGE_FREE_FAULTY_IDS && !is_intent;
        debug_assert_eq!(self.info.name.len(), self.device.name_len);
        debug_assert_eq!(self.noted.name.len(), self.intent.name_len);
        let (device, ids) = (&raw mut self.device, self.ids.as_ptr());
        let (changed, intent) = (&raw mut self.changed, &raw mut self.intent);
        let or_null = |is: bool| if is { device } else { ptr::null_mut() };
        pm_change {
            kind,
            device: or_null(!is_intent && !has_ids),
            ids: if has_ids { ids } else { ptr::null() },
            id_count: if has_ids { self.ids.len() } else { usize::MAX },
            changed: if has_ids { changed } else { ptr::null_mut() },
            intent: if is_intent { intent } else { ptr::null_mut() },
        }
    }
}
