//! Where the engine's things lie, and the containers' two files.
//!
//! `config.json` is replaced by a rename or an update alone, `state.json` on each change, both durably. A folder without
//! a whole `config.json` is a creation that was cut: it is removed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::Error;
use super::options::NetworkJoin;
use super::record::{Config, FORMAT, State};
use crate::network::{Attachment, NetworkRecord, record};

/// The engine's folders.
#[derive(Debug, Clone)]
pub struct Shelf {
    root: PathBuf,
}

impl Shelf {
    /// Below [`formats::paths::ENGINE_STATE`] or another folder.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let shelf = Self {
            root: root.to_path_buf(),
        };
        for folder in [shelf.containers(), shelf.volumes(), shelf.networks()] {
            sys::durable::create_dir_all(&folder)?;
        }
        Ok(shelf)
    }

    /// Images live here; the store makes it.
    pub fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    /// One folder a volume.
    pub fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }

    /// One file a network.
    fn networks(&self) -> PathBuf {
        self.root.join("networks")
    }

    /// One file a timer: when it elapsed last.
    pub fn timers(&self) -> PathBuf {
        self.root.join("timers")
    }

    fn containers(&self) -> PathBuf {
        self.root.join("containers")
    }

    /// A container's folder.
    pub fn container(&self, id: &str) -> PathBuf {
        self.containers().join(id)
    }

    /// Its output.
    pub fn log(&self, id: &str) -> PathBuf {
        self.container(id).join("log")
    }

    /// Makes a container's folder and writes its configuration, whole or not at all. `joins` are the
    /// networks that it asks for, by their ids.
    ///
    /// # Errors
    /// What the file system says.
    pub fn create(&self, config: &Config, joins: &[NetworkJoin]) -> Result<(), Error> {
        let folder = self.container(&config.id);
        sys::durable::create_dir_all(&folder)?;
        for name in ["log", "upper", "work", "merged", "etc"] {
            let path = folder.join(name);
            fs::create_dir(&path).map_err(|e| Error::file("create", &path, &e))?;
        }
        give_to_root(&folder.join("upper"))?;
        self.save(&config.id, &State::default())?;
        if !joins.is_empty() {
            self.save_joins(&config.id, joins)?;
        }
        self.save_config(config)
    }

    /// Replaces what a container is: its name, limits or policy have changed.
    ///
    /// # Errors
    /// What the file system says.
    pub fn save_config(&self, config: &Config) -> Result<(), Error> {
        write(&self.container(&config.id).join("config.json"), config)
    }

    /// Makes a container's state durable.
    ///
    /// # Errors
    /// What the file system says.
    pub fn save(&self, id: &str, state: &State) -> Result<(), Error> {
        let state = State {
            format: FORMAT,
            ..state.clone()
        };
        write(&self.container(id).join("state.json"), &state)
    }

    /// Keeps what the container was started with, for exec sessions of a later engine.
    ///
    /// # Errors
    /// What the file system says.
    pub fn save_spec(&self, id: &str, spec: &oci_spec::runtime::Spec) -> Result<(), Error> {
        write(&self.container(id).join("spec.json"), spec)
    }

    /// What the container was started with.
    ///
    /// # Errors
    /// When there is none, or it is damaged.
    pub fn spec(&self, id: &str) -> Result<oci_spec::runtime::Spec, Error> {
        read(&self.container(id).join("spec.json"))
    }

    /// Keeps a container's places from before the start on: an engine that dies before it has
    /// recorded the start, or a change, leaves this.
    ///
    /// # Errors
    /// What the file system says.
    pub fn save_network(&self, id: &str, network: Option<&Attachment>) -> Result<(), Error> {
        let path = self.container(id).join("network.json");
        match network {
            Some(network) => write(&path, network),
            None => Ok(sys::durable::remove(&path)?),
        }
    }

    /// Keeps which networks a container wants to be in, by their ids.
    ///
    /// # Errors
    /// What the file system says.
    pub fn save_joins(&self, id: &str, joins: &[NetworkJoin]) -> Result<(), Error> {
        write(&self.container(id).join("joins.json"), &joins)
    }

    /// Which networks it wants to be in, if it ever said so.
    pub fn joins(&self, id: &str) -> Option<Vec<NetworkJoin>> {
        read(&self.container(id).join("joins.json")).ok()
    }

    /// Keeps a network.
    ///
    /// # Errors
    /// What the file system says.
    pub fn save_network_record(&self, record: &NetworkRecord) -> Result<(), Error> {
        write(&self.networks().join(format!("{}.json", record.id)), record)
    }

    /// Forgets a network.
    ///
    /// # Errors
    /// What the file system says.
    pub fn remove_network_record(&self, id: &str) -> Result<(), Error> {
        Ok(sys::durable::remove(
            &self.networks().join(format!("{id}.json")),
        )?)
    }

    /// All networks that users made, and what is wrong with those that cannot be read.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn network_records(&self) -> Result<(Vec<NetworkRecord>, Vec<String>), Error> {
        let (mut records, mut damaged) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(self.networks())? {
            let path = entry?.path();
            // What a cut write has left has another ending.
            if path.extension().is_none_or(|ending| ending != "json") {
                continue;
            }
            match read::<NetworkRecord>(&path) {
                Ok(record) if record.format == record::FORMAT => records.push(record),
                Ok(record) => damaged.push(format!(
                    "{}: expected format {}, found {}",
                    path.display(),
                    record::FORMAT,
                    record.format
                )),
                Err(e) => damaged.push(e.to_string()),
            }
        }
        Ok((records, damaged))
    }

    /// The places of the last start.
    pub fn network(&self, id: &str) -> Option<Attachment> {
        read(&self.container(id).join("network.json")).ok()
    }

    /// Empties the container's own layer.
    ///
    /// # Errors
    /// What the file system says.
    pub fn empty_layer(&self, id: &str) -> Result<(), Error> {
        for name in ["upper", "work"] {
            let path = self.container(id).join(name);
            remove_tree(&path).map_err(|e| Error::file("empty", &path, &e))?;
            fs::create_dir(&path).map_err(|e| Error::file("create", &path, &e))?;
        }
        give_to_root(&self.container(id).join("upper"))
    }

    /// Removes a container. Its configuration goes first, so that a cut leaves nothing half-known.
    ///
    /// # Errors
    /// What the file system says.
    pub fn remove(&self, id: &str) -> Result<(), Error> {
        let folder = self.container(id);
        sys::durable::remove(&folder.join("config.json"))?;
        remove_tree(&folder).map_err(|e| Error::file("remove", &folder, &e))
    }

    /// Every container, and what could not be read, by id.
    ///
    /// # Errors
    /// When the folder itself cannot be read.
    pub fn load(&self) -> Result<Loaded, Error> {
        let mut loaded = Loaded::default();
        for entry in fs::read_dir(self.containers())? {
            let folder = entry?.path();
            let id = folder
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            // Not when the disk cannot tell: what is there would be gone.
            if matches!(folder.join("config.json").try_exists(), Ok(false)) {
                let _ = remove_tree(&folder);
                continue;
            }
            match self.load_one(&folder) {
                Ok((config, Ok(state))) => loaded.containers.push((config, state)),
                Ok((config, Err(e))) => loaded.stateless.push((config, e.to_string())),
                Err(e) => loaded.damaged.push((id, e.to_string())),
            }
        }
        loaded.containers.sort_by_key(|(config, _)| config.created);
        Ok(loaded)
    }

    /// The configuration, and the state for itself: a container that runs can do without.
    fn load_one(&self, folder: &Path) -> Result<(Config, Result<State, Error>), Error> {
        let is_known = |found: u32| {
            let expected = || {
                Error::failed(format!(
                    "{}: expected format {FORMAT}, found {found}",
                    folder.display()
                ))
            };
            (found == FORMAT).then_some(()).ok_or_else(expected)
        };
        let config: Config = read(&folder.join("config.json"))?;
        is_known(config.format)?;
        let state = read(&folder.join("state.json"))
            .and_then(|state: State| is_known(state.format).map(|()| state));
        Ok((config, state))
    }
}

/// What [`Shelf::load`] found.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Oldest first.
    pub containers: Vec<(Config, State)>,
    /// Whose state cannot be read, and what is wrong with it.
    pub stateless: Vec<(Config, String)>,
    /// Id, and what is wrong.
    pub damaged: Vec<(String, String)>,
}

fn write(path: &Path, value: &impl Serialize) -> Result<(), Error> {
    let bytes = serde_json::to_vec(value)
        .map_err(|e| Error::failed(format!("write {}: {e}", path.display())))?;
    Ok(sys::durable::write(path, &bytes, 0o600)?)
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let bytes = fs::read(path).map_err(|e| Error::file("read", path, &e))?;
    serde_json::from_slice(&bytes)
        .map_err(|e| Error::failed(format!("read {}: {e}", path.display())))
}

/// What a container sees is root's, not the engine's, whose user no container knows.
///
/// # Errors
/// What the file system says.
pub fn give_to_root(path: &Path) -> Result<(), Error> {
    std::os::unix::fs::chown(path, Some(0), Some(0))
        .map_err(|e| Error::file("give to root", path, &e))
}

/// Removes a folder; one that is not there is no error.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(id: &str) -> Config {
        Config {
            format: FORMAT,
            id: id.into(),
            name: id.into(),
            created: 1,
            options: Default::default(),
            image_id: "sha256:0".into(),
            command: "x".into(),
            anonymous: Vec::new(),
            health: None,
        }
    }

    #[test]
    fn what_was_saved_is_loaded_and_a_cut_creation_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(root.path()).unwrap();
        shelf.create(&config("a"), &[]).unwrap();
        shelf.create(&config("b"), &[]).unwrap();
        fs::remove_file(shelf.container("b").join("config.json")).unwrap();
        let loaded = shelf.load().unwrap();
        assert_eq!(loaded.containers.len(), 1);
        assert_eq!(loaded.containers[0].0, config("a"));
        assert!(!shelf.container("b").exists());
    }

    #[test]
    fn a_damaged_state_is_told_and_stops_nobody_else() {
        let root = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(root.path()).unwrap();
        shelf.create(&config("a"), &[]).unwrap();
        shelf.create(&config("b"), &[]).unwrap();
        fs::write(shelf.container("b").join("state.json"), "{\"format\":").unwrap();
        let loaded = shelf.load().unwrap();
        assert_eq!(loaded.containers.len(), 1);
        assert!(loaded.damaged.is_empty());
        let [(known, wrong)] = loaded.stateless.as_slice() else {
            panic!("{:?}", loaded.stateless);
        };
        assert_eq!(*known, config("b"));
        assert!(wrong.contains("state.json"), "{wrong}");
    }

    #[test]
    fn networks_come_back_without_those_that_are_cut_or_of_another_format() {
        let root = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(root.path()).unwrap();
        let record = NetworkRecord {
            id: "a1".into(),
            ..NetworkRecord::default_bridge()
        };
        shelf.save_network_record(&record).unwrap();
        let folder = root.path().join("networks");
        fs::write(folder.join(".b2.json.1.0.new"), "{\"for").unwrap();
        fs::write(folder.join("c3.json"), "{\"format\":").unwrap();
        let later = NetworkRecord {
            id: "d4".into(),
            format: 2,
            ..record.clone()
        };
        shelf.save_network_record(&later).unwrap();
        let (records, damaged) = shelf.network_records().unwrap();
        assert_eq!(records, [record]);
        assert_eq!(damaged.len(), 2, "{damaged:?}");
        shelf.remove_network_record("a1").unwrap();
        shelf.remove_network_record("a1").unwrap();
        assert!(shelf.network_records().unwrap().0.is_empty());
    }

    #[test]
    fn a_removed_container_is_gone() {
        let root = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(root.path()).unwrap();
        shelf.create(&config("a"), &[]).unwrap();
        shelf.remove("a").unwrap();
        assert!(shelf.load().unwrap().containers.is_empty());
        assert!(!shelf.container("a").exists());
    }
}
