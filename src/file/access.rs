//! Who may use a file: its owner and its mode. A file that is made beside a store can be used by
//! whoever can use the store, whichever user has made it.

use std::fs::{File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{fchown, MetadataExt, PermissionsExt};

use nix::unistd::{getegid, geteuid};

/// What the owner of a file may always do: read it and write it.
const OWNER: u32 = 0o600;
/// The bits of a mode that say what the group may do.
const GROUP: u32 = 0o070;
/// The bits of a mode that say who may read, write and execute.
const PERMISSIONS: u32 = 0o777;

/// A file's owner, group and mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    owner: u32,
    group: u32,
    mode: u32,
}

/// What [`Access::give`] fails for, where the system does not allow this process to set it. Only
/// root gives files away, and a user gives them to groups of his own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Required {
    /// The owner and the group.
    All,
    /// The owner. Without the group, the mode allows the group nothing.
    Owner,
    /// Nothing. Without the owner, the file stays this process's.
    Nothing,
}

impl Access {
    /// That of a file, whose owner may always read and write what is made after it.
    pub fn of(file: &Metadata) -> Access {
        Access {
            owner: file.uid(),
            group: file.gid(),
            mode: file.mode() & PERMISSIONS | OWNER,
        }
    }

    /// Whether a file has it that this process makes with mode 0600.
    pub fn is_own(&self) -> bool {
        let own = (geteuid().as_raw(), getegid().as_raw(), OWNER);
        (self.owner, self.group, self.mode) == own
    }

    /// Gives it to a file.
    pub fn give(&self, file: &File, required: Required) -> io::Result<()> {
        let is = file.metadata()?;
        if is.uid() != self.owner {
            allowed(
                fchown(file, Some(self.owner), None),
                required == Required::Nothing,
            )?;
        }
        let mut mode = self.mode;
        if is.gid() != self.group
            && !allowed(
                fchown(file, None, Some(self.group)),
                required != Required::All,
            )?
        {
            mode &= !GROUP;
        }
        match mode == is.mode() & PERMISSIONS {
            true => Ok(()),
            false => file.set_permissions(Permissions::from_mode(mode)),
        }
    }
}

/// Whether the system has allowed a change of the owner. That it has not is an error unless the
/// change is `optional`.
fn allowed(changed: io::Result<()>, optional: bool) -> io::Result<bool> {
    // A user whom this user namespace does not know is an invalid argument.
    const REFUSED: [i32; 4] = [libc::EPERM, libc::EINVAL, libc::EOPNOTSUPP, libc::ENOSYS];
    match changed {
        Err(e) if optional && e.raw_os_error().is_some_and(|no| REFUSED.contains(&no)) => Ok(false),
        changed => changed.map(|()| true),
    }
}
