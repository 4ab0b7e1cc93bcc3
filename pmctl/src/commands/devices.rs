//! Changes to devices that are named: read first, shown, then made in one commit, or not at all.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use pool_metadata::{Change, DeviceInfo, Error, PoolMetadata};

use crate::ask::Consent;
use crate::commands::name_of;
use crate::context::{Context, Outcome};
use crate::failure::{Failure, Result};
use crate::output::Output;
use crate::text;

/// The devices that a command changes.
#[derive(clap::Args, Debug)]
pub struct Names {
    /// Names of the devices
    #[arg(value_name = "NAME", required_unless_present = "from")]
    names: Vec<OsString>,

    /// A file with more names, one a line, as `pmctl ls -H -o name` prints them; - for standard
    /// input
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
}

impl Names {
    /// The names, each once, in their order.
    pub fn read(&self) -> Result<Vec<Vec<u8>>> {
        let given = self.names.iter().map(|name| name_of(name.as_bytes()));
        let mut names = given.collect::<Result<Vec<_>>>()?;
        if let Some(file) = &self.from {
            for line in read_file(file)?.split(|byte| *byte == b'\n') {
                if !line.is_empty() {
                    names.push(name_of(line)?);
                }
            }
        }
        let mut seen = std::collections::HashSet::new();
        names.retain(|name| seen.insert(name.clone()));
        Ok(names)
    }
}

/// The whole of a file, or of standard input for "-".
pub fn read_file(path: &std::path::Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = if path.as_os_str() == "-" {
        io::stdin().lock().read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|mut file| file.read_to_end(&mut bytes))
    };
    match read {
        Ok(_) => Ok(bytes),
        Err(error) => Err(Failure::unusable(format!("{}: {error}", path.display()))),
    }
}

/// The records of all these devices, or an error that names those that are not there.
fn records(store: &PoolMetadata, names: &[Vec<u8>]) -> Result<Vec<DeviceInfo>> {
    let mut records = Vec::new();
    let mut missing = Vec::new();
    for name in names {
        match store.get_device(name) {
            Ok(device) => records.push(device),
            Err(Error::NotFound { .. }) => missing.push(text::word(name)),
            Err(other) => return Err(other.into()),
        }
    }
    if missing.is_empty() {
        return Ok(records);
    }
    Err(Failure::problem(format!(
        "not in the store: {}; nothing was changed\n`pmctl ls` lists the devices there are",
        missing.join(" ")
    )))
}

/// "snap-1 (id 4, Activated)".
pub fn described(device: &DeviceInfo) -> String {
    let name = text::word(&device.name);
    format!("{name} (id {}, {})", device.device_id, device.state)
}

/// What a command does to each of the devices that are named.
pub struct Edit<P, C, D> {
    /// What will be done, line by line, for the operator to agree to.
    pub plan: P,
    pub change: C,
    /// What has been done to a device, with its name first.
    pub done: D,
}

impl<P, C, D> Edit<P, C, D>
where
    P: FnOnce(&PoolMetadata, &[DeviceInfo]) -> Result<Vec<String>>,
    C: Fn(&DeviceInfo) -> Change,
    D: Fn(&DeviceInfo) -> String,
{
    /// Reads the devices, shows the plan and, once the operator agrees, changes all of them in one
    /// commit.
    pub fn run(self, names: &Names, consent: Consent, context: &Context) -> Result<Outcome> {
        let names = names.read()?;
        let store = context.place.open_for(consent)?;
        let devices = records(&store, &names)?;
        if !consent.to(&(self.plan)(&store, &devices)?)? {
            return Ok(Outcome::Fine);
        }
        commit(&store, &devices, self.change)?;
        let mut out = Output::new();
        for device in &devices {
            let name = text::word(&device.name);
            out.line(&format!("{name} {}", (self.done)(device)))?;
        }
        out.finish()?;
        Ok(Outcome::Fine)
    }
}

/// Makes a change to each device, all in one commit. If one has been written since its record was
/// read, by a containerd that runs, nothing is changed: the plan was made for another state.
fn commit(
    store: &PoolMetadata,
    devices: &[DeviceInfo],
    change: impl Fn(&DeviceInfo) -> Change,
) -> Result<()> {
    let mut changes = Vec::new();
    for device in devices {
        let change = change(device);
        // An update is refused for a record that has been written since. Other changes are not,
        // so one that changes nothing goes before them.
        if !matches!(change, Change::Update(_)) {
            changes.push(Change::Update(device.clone()));
        }
        changes.push(change);
    }
    match store.apply(&changes) {
        Ok(_) => Ok(()),
        Err(refused) => Err(refused.error.into()),
    }
}
