//! `pmctl tree`: devices below those that they are snapshots of.

use std::collections::{HashMap, HashSet};

use pool_metadata::{DeviceInfo, DeviceRef};
use serde_json::json;

use crate::context::{Context, Outcome};
use crate::failure::Result;
use crate::json;
use crate::output::{style_of, Output, Paint, Style};
use crate::text;

/// Show devices as trees: bases, and the snapshots of each
///
/// A device whose parent is not in the store begins a tree of its own, and so does one of the
/// devices of a cycle. Both are marked, and are exit code 1.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Only devices down to this depth
    #[arg(long, value_name = "N")]
    depth: Option<usize>,

    /// One JSON object a line, with the depth of each device
    #[arg(long)]
    json: bool,

    /// Draw lines with ASCII characters only
    #[arg(long)]
    ascii: bool,
}

/// Deeper devices are not indented further.
const INDENTED: usize = 32;

/// Why a device begins a tree.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Root {
    Base,
    LostParent,
    Cycle,
}

struct Forest {
    /// Sorted by name.
    devices: Vec<DeviceInfo>,
    /// Children of each device, by their places in `devices`.
    children: Vec<Vec<u32>>,
    roots: Vec<(u32, Root)>,
}

/// A device in the order of the tree.
struct Node<'a> {
    device: &'a DeviceInfo,
    depth: usize,
    /// For each level above it and its own, whether it is the last child there.
    last: &'a [bool],
    root: Option<Root>,
    snapshots: usize,
}

impl Args {
    pub fn run(&self, context: &Context) -> Result<Outcome> {
        let store = context.place.read()?;
        let mut devices = Vec::new();
        let mut walk = store.walk()?;
        while let Some(device) = walk.next_ref()? {
            // The error texts are not shown.
            devices.push(
                DeviceRef {
                    error: b"",
                    ..device
                }
                .to_owned(),
            );
        }
        drop(walk);
        let forest = Forest::grow(devices);
        let mut out = Output::new();
        let lines = if self.ascii || !is_utf8_locale() {
            &ASCII
        } else {
            &DRAWN
        };
        forest.visit(self.depth.unwrap_or(usize::MAX), |node| {
            out.line(&match self.json {
                true => node.json(),
                false => node.line(lines, context.paint),
            })
        })?;
        out.finish()?;
        let fine = forest.roots.iter().all(|(_, root)| *root == Root::Base);
        Ok(if fine {
            Outcome::Fine
        } else {
            Outcome::ProblemFound
        })
    }
}

impl Forest {
    fn grow(devices: Vec<DeviceInfo>) -> Forest {
        let places = places(&devices);
        let mut children = vec![Vec::new(); devices.len()];
        let mut roots = Vec::new();
        for (at, device) in (0..).zip(&devices) {
            match places.get(&*device.parent_name) {
                Some(parent) => children[*parent as usize].push(at),
                None if device.parent_name.is_empty() => roots.push((at, Root::Base)),
                None => roots.push((at, Root::LostParent)),
            }
        }
        let mut forest = Forest {
            devices,
            children,
            roots,
        };
        forest.add_cycles();
        forest
    }

    /// What no root leads to is a cycle, or hangs on one: its first device in the order of names
    /// that is part of the cycle becomes a root.
    fn add_cycles(&mut self) {
        let mut reached = vec![false; self.devices.len()];
        for at in 0..self.roots.len() {
            self.reach(self.roots[at].0, &mut reached);
        }
        let places = places(&self.devices);
        let parent = |at: u32| places[&*self.devices[at as usize].parent_name];
        let mut cycles = Vec::new();
        for at in 0..self.devices.len() as u32 {
            if reached[at as usize] {
                continue;
            }
            let mut seen = HashSet::new();
            let mut on = at;
            while seen.insert(on) {
                on = parent(on);
            }
            let mut first = on;
            let mut next = parent(on);
            while next != on {
                first = first.min(next);
                next = parent(next);
            }
            cycles.push((first, Root::Cycle));
            self.reach(first, &mut reached);
        }
        self.roots.extend(cycles);
        self.roots.sort_by_key(|root| root.0);
    }

    fn reach(&self, root: u32, reached: &mut [bool]) {
        let mut open = vec![root];
        while let Some(at) = open.pop() {
            if !std::mem::replace(&mut reached[at as usize], true) {
                open.extend(&self.children[at as usize]);
            }
        }
    }

    /// Shows every device to `visit`, each after its parent.
    fn visit(&self, depth: usize, mut visit: impl FnMut(&Node) -> Result<()>) -> Result<()> {
        for (root, why) in &self.roots {
            // Places with their depths, and whether each is the last child of its parent.
            let mut open = vec![(*root, 0, true)];
            let mut last = Vec::new();
            while let Some((at, level, is_last)) = open.pop() {
                last.truncate(level);
                last.push(is_last);
                let children = &self.children[at as usize];
                visit(&Node {
                    device: &self.devices[at as usize],
                    depth: level,
                    last: &last[1..],
                    root: (level == 0).then_some(*why),
                    snapshots: children.len(),
                })?;
                if level >= depth {
                    continue;
                }
                // A cycle comes back to its root, which is not shown again.
                let mut below: Vec<u32> = children.iter().copied().filter(|c| c != root).collect();
                below.reverse();
                let shown = below.into_iter().enumerate();
                open.extend(shown.map(|(from_last, child)| (child, level + 1, from_last == 0)));
            }
        }
        Ok(())
    }
}

/// The place of each device, by its name.
fn places(devices: &[DeviceInfo]) -> HashMap<&[u8], u32> {
    let names = devices.iter().map(|device| &*device.name);
    names.zip(0..).collect()
}

/// What a tree is drawn with: a child, the last child, a line that goes by, and a gap.
struct Lines([&'static str; 4]);

static DRAWN: Lines = Lines([
    "\u{251c}\u{2500} ",
    "\u{2514}\u{2500} ",
    "\u{2502}  ",
    "   ",
]);
static ASCII: Lines = Lines(["|- ", "`- ", "|  ", "   "]);

impl Node<'_> {
    fn line(&self, lines: &Lines, paint: Paint) -> String {
        let mut line = String::new();
        if self.depth > INDENTED {
            line.push_str(&format!("{}({}) ", lines.0[3].repeat(INDENTED), self.depth));
        } else if let Some((own, above)) = self.last.split_last() {
            line.extend(above.iter().map(|last| lines.0[2 + usize::from(*last)]));
            line.push_str(lines.0[usize::from(*own)]);
        }
        let device = self.device;
        line.push_str(&text::word(&device.name));
        line.push_str(&format!("  id {}  ", device.device_id));
        line.push_str(&paint.paint(style_of(device.state), device.state.name()));
        line.push_str(&format!("  {}", text::size(device.size)));
        let parent = || text::word(&device.parent_name);
        let note = match self.root {
            Some(Root::LostParent) => format!("its parent {} is not in the store", parent()),
            Some(Root::Cycle) => format!("its parent {} is one of its own snapshots", parent()),
            _ => return line,
        };
        line + "  " + &paint.paint(Style::Bad, &format!("({note})"))
    }

    fn json(&self) -> String {
        let root = self.root.map(|root| match root {
            Root::Base => "base",
            Root::LostParent => "lost-parent",
            Root::Cycle => "cycle",
        });
        json::line(&json!({
            "name": text::escape(&self.device.name),
            "id": self.device.device_id,
            "state": self.device.state.name(),
            "size": self.device.size,
            "parent": text::escape(&self.device.parent_name),
            "depth": self.depth,
            "snapshots": self.snapshots,
            "root": root,
        }))
    }
}

/// Whether the terminal shows UTF-8, by the variables that say so, the first that is set.
fn is_utf8_locale() -> bool {
    let set = |name| {
        std::env::var(name)
            .ok()
            .filter(|value: &String| !value.is_empty())
    };
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set);
    locale.is_some_and(|locale| {
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}
