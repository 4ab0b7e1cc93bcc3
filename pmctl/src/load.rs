//! The lines of a dump, checked against each other.

mod check;

use std::collections::HashMap;

use pool_metadata::{DeviceInfo, Ids, Intent, MAX_DEVICE_ID, MAX_INTENTS};
use serde_json::Value;

use crate::json::{self, Begin, End, IdLine, IdState, Identity, VERSION};
use crate::text;

/// What a dump holds, and what is wrong with it.
#[derive(Default)]
pub struct Loaded {
    /// Sorted by name.
    pub devices: Vec<DeviceInfo>,
    pub ids: Ids,
    pub identity: Option<Vec<u8>>,
    pub intents: Vec<Intent>,
    /// Numbers of lines, and what is wrong there.
    pub problems: Vec<(usize, String)>,
}

/// What is known of an id.
#[derive(Clone, Copy, Default)]
struct Claims {
    /// The line of its device; 0 for none.
    device: u32,
    /// The line that says that it is free or faulty; 0 for none.
    listed: u32,
    faulty: bool,
}

struct Reader {
    loaded: Loaded,
    begun: bool,
    ended: bool,
    line: usize,
    claims: Vec<Claims>,
    names: HashMap<Vec<u8>, usize>,
}

type Checked = Result<(), String>;

impl Loaded {
    /// Reads all lines. What cannot be loaded is among the problems.
    pub fn read(text: &[u8]) -> Loaded {
        let mut reader = Reader {
            loaded: Loaded::default(),
            begun: false,
            ended: false,
            line: 0,
            claims: Vec::new(),
            names: HashMap::new(),
        };
        for line in text.split(|byte| *byte == b'\n') {
            reader.line += 1;
            if line.trim_ascii().is_empty() {
                continue;
            }
            if let Err(what) = reader.line(line) {
                reader.loaded.problems.push((reader.line, what));
                // Without the first line the others have no meaning.
                if !reader.begun {
                    return reader.loaded;
                }
            }
        }
        reader.finish()
    }
}

impl Reader {
    fn line(&mut self, line: &[u8]) -> Checked {
        if self.ended {
            return Err("there is more after the line of the end".to_owned());
        }
        let value: Value = serde_json::from_slice(line).map_err(|e| {
            let what = e.to_string();
            // The parser counts lines within this one.
            let what = what.replace(" at line 1 column ", " at column ");
            format!("this is no JSON: {what}")
        })?;
        if !self.begun {
            let begin: Begin = from(value).map_err(|why| {
                format!("this is not the first line of a dump, {{\"pmctl_dump\":...}}: {why}")
            })?;
            return self.begin(&begin);
        }
        if value.get("end").is_some() {
            let End { .. } = from(value)?;
            self.ended = true;
            return Ok(());
        }
        if value.get("ids").is_some() {
            let line: IdLine = from(value)?;
            return self.ids(&line);
        }
        if value.get("identity").is_some() {
            return self.identity(&from(value)?);
        }
        if value.get("intent").is_some() {
            return self.intent(&from(value)?);
        }
        let device: json::Device = from(value)?;
        self.device(device.record()?)
    }

    fn begin(&mut self, begin: &Begin) -> Checked {
        if begin.pmctl_dump != VERSION {
            return Err(format!(
                "the lines are of version {}, and this pmctl reads version {VERSION}",
                begin.pmctl_dump
            ));
        }
        if begin.last_id > MAX_DEVICE_ID {
            let last = begin.last_id;
            return Err(format!(
                "last_id {last} is out of range: at most {MAX_DEVICE_ID}"
            ));
        }
        self.loaded.ids.last_id = begin.last_id;
        self.claims = vec![Claims::default(); begin.last_id as usize + 1];
        self.begun = true;
        Ok(())
    }

    fn identity(&mut self, line: &Identity) -> Checked {
        let identity = text::unescape(line.identity.as_bytes())?;
        check::identity(&identity)?;
        if self.loaded.identity.is_some() {
            return Err("there is more than one identity".to_owned());
        }
        self.loaded.identity = Some(identity);
        Ok(())
    }

    fn intent(&mut self, line: &json::Intent) -> Checked {
        let intent = line.intent()?;
        check::name(&intent.name)?;
        if self.loaded.intents.len() == MAX_INTENTS as usize {
            return Err(format!("there are more than {MAX_INTENTS} intents"));
        }
        self.loaded.intents.push(intent);
        Ok(())
    }

    fn in_range(&self, id: u32) -> Checked {
        match self.loaded.ids.last_id {
            last if (1..=last).contains(&id) => Ok(()),
            last => Err(format!(
                "there is no id {id}: they go from 1 to {last} (last_id)"
            )),
        }
    }

    fn ids(&mut self, line: &IdLine) -> Checked {
        let range = text::id_range(&line.ids)?;
        self.in_range(*range.end())?;
        for id in range.clone() {
            let claims = self.claims[id as usize];
            if claims.listed != 0 {
                return Err(format!("id {id} is in line {} as well", claims.listed));
            }
            if claims.device != 0 && line.state == IdState::Free {
                return Err(format!(
                    "id {id} is free, and line {} has it",
                    claims.device
                ));
            }
        }
        for id in range {
            self.claims[id as usize].listed = self.line as u32;
            self.claims[id as usize].faulty = line.state == IdState::Faulty;
        }
        Ok(())
    }

    fn device(&mut self, device: DeviceInfo) -> Checked {
        check::texts(&device)?;
        let id = device.device_id;
        self.in_range(id)?;
        let name = text::escape(&device.name);
        if let Some(line) = self.names.get(&device.name) {
            return Err(format!("device \"{name}\" is in line {line} as well"));
        }
        let claims = &mut self.claims[id as usize];
        if claims.device != 0 {
            return Err(format!("id {id} is that of line {} as well", claims.device));
        }
        if claims.listed != 0 && !claims.faulty {
            return Err(format!("id {id} is free by line {}", claims.listed));
        }
        claims.device = self.line as u32;
        self.names.insert(device.name.clone(), self.line);
        self.loaded.devices.push(device);
        Ok(())
    }

    fn finish(mut self) -> Loaded {
        let last_line = self.line;
        let problems = &mut self.loaded.problems;
        if !self.begun {
            problems.push((1, "the file is empty".to_owned()));
            return self.loaded;
        }
        if !self.ended {
            let what = "the dump is cut short: its last line, {\"end\":true}, is missing";
            problems.push((last_line, what.to_owned()));
        }
        // A line that was refused may be that of an id that nothing else is known of.
        if problems.is_empty() {
            problems.extend(check::lost(&self.claims).into_iter().map(|what| (1, what)));
        }
        for (id, claims) in (0..).zip(&self.claims).skip(1) {
            match claims {
                Claims { faulty: true, .. } => self.loaded.ids.faulty.push(id),
                Claims { listed: 1.., .. } => self.loaded.ids.free.push(id),
                _ => {}
            }
        }
        self.loaded.devices.sort_by(|a, b| a.name.cmp(&b.name));
        self.loaded
    }
}

fn from<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: &str = r#"{"pmctl_dump":1,"last_id":3}"#;
    const A: &str = r#"{"name":"a","id":1,"state":"Created","size":1}"#;
    const REST: &str = r#"{"ids":"2-3","state":"faulty"}"#;
    const END: &str = r#"{"end":true}"#;

    fn problems(lines: &[&str]) -> Vec<(usize, String)> {
        Loaded::read(lines.join("\n").as_bytes()).problems
    }

    #[test]
    fn lines_may_be_in_any_order_after_the_first() {
        let b = r#"{"name":"B","id":2,"state":"faulty","size":18446744073709551615}"#;
        let loaded = Loaded::read([BEGIN, A, b, "", REST, END].join("\n").as_bytes());
        assert_eq!(loaded.problems, []);
        assert_eq!((loaded.ids.last_id, loaded.ids.faulty), (3, vec![2, 3]));
        let names: Vec<_> = loaded.devices.iter().map(|d| (&*d.name, d.size)).collect();
        assert_eq!(names, [(&b"B"[..], u64::MAX), (&b"a"[..], 1)]);
    }

    #[test]
    fn each_contradiction_is_named_with_its_line() {
        let long = format!(
            r#"{{"name":"{}","id":2,"state":"Created","size":1}}"#,
            "n".repeat(512)
        );
        for (line, what) in [
            (
                r#"{"name":"a","id":2,"state":"Created","size":1}"#,
                "\"a\" is in line 2 as well",
            ),
            (
                r#"{"name":"b","id":1,"state":"Created","size":1}"#,
                "id 1 is that of line 2 as well",
            ),
            (
                r#"{"name":"b","id":0,"state":"Created","size":1}"#,
                "there is no id 0",
            ),
            (
                r#"{"name":"b","id":4,"state":"Created","size":1}"#,
                "there is no id 4",
            ),
            (
                r#"{"name":"b","id":16777216,"state":"Created","size":1}"#,
                "there is no id 16777216",
            ),
            (
                r#"{"name":"b","id":2,"state":"Broken","size":1}"#,
                "\"Broken\" is no state",
            ),
            (
                r#"{"name":"b","id":2,"state":"Created","size":-1}"#,
                "invalid value",
            ),
            (
                r#"{"name":"b","id":2,"state":"Created"}"#,
                "missing field `size`",
            ),
            (
                r#"{"name":"b","id":2,"state":"Created","size":1,"x":1}"#,
                "unknown field `x`",
            ),
            (
                r#"{"name":"b\\q","id":2,"state":"Created","size":1}"#,
                "a backslash is written",
            ),
            (
                r#"{"name":"b\u0000","id":2,"state":"Created","size":1}"#,
                "holds a NUL byte",
            ),
            (
                r#"{"name":"","id":2,"state":"Created","size":1}"#,
                "the name is empty",
            ),
            (&long, "512 bytes, more than 511"),
            (
                r#"{"ids":"1","state":"free"}"#,
                "id 1 is free, and line 2 has it",
            ),
            (r#"{"ids":"3-4","state":"free"}"#, "there is no id 4"),
            (r#"{"ids":"3-2","state":"free"}"#, "ends before it begins"),
            (r#"{"ids":"2","state":"taken"}"#, "unknown variant `taken`"),
            (
                r#"{"name":"b""#,
                "this is no JSON: EOF while parsing an object at column 11",
            ),
            ("7", "invalid type"),
            (r#"{"identity":""}"#, "the identity is empty"),
            (
                r#"{"intent":"move","name":"a","id":1,"transaction":1}"#,
                "\"move\" is no kind of change",
            ),
            (
                r#"{"intent":"create","name":"","id":1,"transaction":1}"#,
                "the name is empty",
            ),
            (
                r#"{"intent":"create","name":"a","id":16777216,"transaction":1}"#,
                "id 16777216 has more than 24 bits",
            ),
            (r#"{"intent":"create","name":"a","id":1}"#, "missing field"),
        ] {
            let found = problems(&[BEGIN, A, line, REST, END]);
            assert!(
                found[0].0 == 3 && found[0].1.contains(what),
                "{line}: {found:?}"
            );
        }
        let found = problems(&[BEGIN, r#"{"ids":"1-3","state":"free"}"#, A, END]);
        assert_eq!(found, [(3, "id 1 is free by line 2".to_owned())]);
        let pool = r#"{"identity":"p"}"#;
        let found = problems(&[BEGIN, pool, A, pool, REST, END]);
        assert_eq!(found, [(4, "there is more than one identity".to_owned())]);
        let found = problems(&[BEGIN, REST, r#"{"ids":"3","state":"free"}"#, A, END]);
        assert_eq!(found, [(3, "id 3 is in line 2 as well".to_owned())]);
    }

    #[test]
    fn dump_that_is_cut_short_or_leaves_ids_out_is_refused() {
        for (lines, line, what) in [
            (&[BEGIN, A, REST][..], 3, "cut short"),
            (&[BEGIN, A, END], 1, "\"ids\":\"2-3\""),
            (
                &[BEGIN, A, REST, END, A],
                5,
                "more after the line of the end",
            ),
            (&[A], 1, "not the first line of a dump"),
            (&[], 1, "the file is empty"),
            (&[r#"{"pmctl_dump":2,"last_id":3}"#, A], 1, "of version 2"),
            (
                &[r#"{"pmctl_dump":1,"last_id":16777215}"#],
                1,
                "out of range",
            ),
        ] {
            let found = problems(lines);
            assert!(
                found[0].0 == line && found[0].1.contains(what),
                "{lines:?}: {found:?}"
            );
        }
    }
}
