//! What no store can have.

use pool_metadata::{DeviceInfo, MAX_ERROR_LEN, MAX_IDENTITY_LEN, MAX_NAME_LEN};

use super::{Checked, Claims};

/// Ids up to the last of which no line says anything.
pub fn lost(claims: &[Claims]) -> Vec<String> {
    let of_nothing = |claims: &Claims| claims.device == 0 && claims.listed == 0;
    let lost: Vec<u32> = (0..)
        .zip(claims)
        .skip(1)
        .filter(|(_, claims)| of_nothing(claims))
        .map(|(id, _)| id)
        .collect();
    lost.chunk_by(|a, b| a + 1 == *b)
        .map(|run| {
            let (first, last) = (run[0], run[run.len() - 1]);
            let ids = match first == last {
                true => first.to_string(),
                false => format!("{first}-{last}"),
            };
            format!(
                "no line says what ids up to last_id are for {ids}: add \
                 {{\"ids\":\"{ids}\",\"state\":\"free\"}}, or \"faulty\" if the pool may have them"
            )
        })
        .collect()
}

/// Refuses texts that no record can have.
pub fn texts(device: &DeviceInfo) -> Checked {
    name(&device.name)?;
    at_most("parent", &device.parent_name, MAX_NAME_LEN)?;
    no_nul("parent", &device.parent_name)?;
    at_most("error text", &device.error, MAX_ERROR_LEN)
}

/// Refuses a name that no device can have.
pub fn name(name: &[u8]) -> Checked {
    if name.is_empty() {
        return Err("the name is empty".to_owned());
    }
    at_most("name", name, MAX_NAME_LEN)?;
    no_nul("name", name)
}

/// Refuses an identity that no store can have.
pub fn identity(identity: &[u8]) -> Checked {
    if identity.is_empty() {
        return Err("the identity is empty".to_owned());
    }
    at_most("identity", identity, MAX_IDENTITY_LEN)
}

fn at_most(what: &str, text: &[u8], most: usize) -> Checked {
    match text.len() {
        len if len > most => Err(format!("the {what} has {len} bytes, more than {most}")),
        _ => Ok(()),
    }
}

fn no_nul(what: &str, text: &[u8]) -> Checked {
    match text.contains(&0) {
        true => Err(format!("the {what} holds a NUL byte")),
        false => Ok(()),
    }
}
