//! What containerd's configuration says about its devmapper snapshotter.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The file that containerd reads if nothing else is given.
pub const CONFIG: &str = "/etc/containerd/config.toml";
/// containerd's own data, below which a snapshotter without `root_path` has its directory.
const ROOT: &str = "/var/lib/containerd";
/// The snapshotter's name in the configuration, and of its directory.
const SNAPSHOTTER: &str = "io.containerd.snapshotter.v1.devmapper";
/// Its name in a configuration of version 1.
const SNAPSHOTTER_V1: &str = "devmapper";

/// The snapshotter's settings that matter here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Devmapper {
    pub root_path: PathBuf,
    pub pool_name: String,
}

impl Devmapper {
    /// The store of the pool's devices.
    pub fn store(&self) -> PathBuf {
        self.root_path.join(format!("{}.db", self.pool_name))
    }
}

#[derive(Deserialize, Default)]
struct File {
    root: Option<PathBuf>,
    #[serde(default)]
    imports: Vec<String>,
    #[serde(default)]
    plugins: BTreeMap<String, toml::Value>,
}

/// Settings as far as they are known.
#[derive(Default)]
struct Found {
    root: Option<PathBuf>,
    root_path: Option<PathBuf>,
    pool_name: Option<String>,
}

/// Reads the configuration at `path`, and the files that it imports.
pub fn read(path: &Path) -> Result<Devmapper, String> {
    let mut found = Found::default();
    found.add(path, &mut Vec::new())?;
    let pool_name = found.pool_name.ok_or_else(|| {
        format!(
            "{} sets no pool_name in [plugins.\"{SNAPSHOTTER}\"]",
            path.display()
        )
    })?;
    let root = found.root.unwrap_or_else(|| ROOT.into());
    Ok(Devmapper {
        root_path: found.root_path.unwrap_or_else(|| root.join(SNAPSHOTTER)),
        pool_name,
    })
}

impl Found {
    /// Adds a file's settings. Those of an imported file go before those of the file that imports
    /// it, as they do for containerd.
    fn add(&mut self, path: &Path, seen: &mut Vec<PathBuf>) -> Result<(), String> {
        if seen.iter().any(|before| before == path) {
            return Ok(());
        }
        seen.push(path.into());
        let fail = |what: String| format!("{}: {what}", path.display());
        let text = fs::read_to_string(path).map_err(|e| fail(e.to_string()))?;
        let file: File = toml::from_str(&text).map_err(|e| fail(e.to_string()))?;
        self.root = file.root.or(self.root.take());
        for name in [SNAPSHOTTER_V1, SNAPSHOTTER] {
            let text = |key| file.plugins.get(name)?.get(key)?.as_str();
            if let Some(pool) = text("pool_name").filter(|name| !name.is_empty()) {
                self.pool_name = Some(pool.to_owned());
            }
            if let Some(root) = text("root_path").filter(|path| !path.is_empty()) {
                self.root_path = Some(root.into());
            }
        }
        for pattern in &file.imports {
            let pattern = path.with_file_name("").join(pattern);
            let paths = glob::glob(&pattern.to_string_lossy()).map_err(|e| fail(e.to_string()))?;
            for import in paths {
                self.add(&import.map_err(|e| fail(e.to_string()))?, seen)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(files: &[(&str, &str)]) -> Result<Devmapper, String> {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(directory.path().join(name), text).unwrap();
        }
        read(&directory.path().join(files[0].0))
    }

    #[test]
    fn all_versions_of_the_configuration_name_the_store() {
        for name in ["devmapper", "\"io.containerd.snapshotter.v1.devmapper\""] {
            let text = format!("[plugins.{name}]\nroot_path = \"/dm\"\npool_name = \"thin\"");
            let found = of(&[("config.toml", &text)]).unwrap();
            assert_eq!(found.store(), Path::new("/dm/thin.db"));
        }
    }

    #[test]
    fn missing_root_path_is_the_snapshotters_directory_below_the_root() {
        let plugin = "[plugins.\"io.containerd.snapshotter.v1.devmapper\"]\npool_name = \"p\"";
        let found = of(&[("c.toml", plugin)]).unwrap();
        let directory = "io.containerd.snapshotter.v1.devmapper";
        assert_eq!(found.root_path, Path::new(ROOT).join(directory));
        let found = of(&[("c.toml", &format!("root = \"/data\"\n{plugin}"))]).unwrap();
        assert_eq!(
            found.store(),
            Path::new("/data").join(directory).join("p.db")
        );
    }

    #[test]
    fn imported_files_override_and_may_import_each_other() {
        let found = of(&[
            (
                "c.toml",
                "imports = [\"*.toml\"]\n[plugins.devmapper]\npool_name = \"old\"",
            ),
            (
                "d.toml",
                "imports = [\"c.toml\"]\n[plugins.devmapper]\npool_name = \"new\"",
            ),
        ]);
        assert_eq!(found.unwrap().pool_name, "new");
    }

    #[test]
    fn what_is_missing_or_wrong_is_named_with_its_file() {
        let error = of(&[("c.toml", "[plugins.devmapper]\nroot_path = \"/dm\"")]).unwrap_err();
        assert!(error.contains("c.toml sets no pool_name"), "{error}");
        let error = of(&[("c.toml", "[plugins")]).unwrap_err();
        assert!(
            error.contains("c.toml: TOML parse error at line 1"),
            "{error}"
        );
        let error = read(Path::new("/no/such.toml")).unwrap_err();
        assert!(error.starts_with("/no/such.toml: No such file"), "{error}");
    }
}
