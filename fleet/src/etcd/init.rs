//! `skeg fleet init`: etcd's users and roles, so that a machine can write its own keys and no others.
//!
//! It may be run again, with more machines; a password that it wrote before is kept. It prints none.

use super::Config;
use etcd_client::{Client, ConnectOptions, Permission, PermissionType};
use formats::fleet::{Key, MachineId, placed_on, status_of};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Who engines are in etcd.
pub const ENGINE: &str = "skeg-engine";

/// Who a machine is in etcd.
#[must_use]
pub fn machine_user(id: &MachineId) -> String {
    format!("skeg-machine-{id}")
}

/// Makes users and roles for the engines and these machines, and turns etcd's authentication on. Each
/// user's password is in a file of its name in `folder`.
///
/// # Errors
/// In words, what etcd or a file refused.
pub async fn init(config: &Config, folder: &Path, machines: &[MachineId]) -> Result<(), String> {
    std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let (mut client, on) = connect(config, folder).await?;
    let users = client.user_list().await.map_err(words)?.users().to_vec();
    let mut etcd = Etcd {
        client: client.clone(),
        users,
        folder,
    };
    let prefix = &config.prefix;
    let all = Permission::read_write(prefix.as_str()).with_prefix();
    etcd.user(ENGINE, vec![all]).await?;
    for id in machines {
        etcd.user(&machine_user(id), machine(prefix, id)).await?;
    }
    if !on {
        etcd.user("root", vec![]).await?;
        client.auth_enable().await.map_err(words)?;
    }
    Ok(())
}

/// What a machine may: tell who it is and what runs there, and read what is placed on it.
fn machine(prefix: &str, id: &MachineId) -> Vec<Permission> {
    let key = |key: Key| format!("{prefix}{key}");
    vec![
        Permission::new(PermissionType::Write, key(Key::Machine(id.clone()))),
        Permission::new(PermissionType::Write, key(Key::Alive(id.clone()))),
        Permission::read(format!("{prefix}{}", placed_on(id))).with_prefix(),
        Permission::read_write(format!("{prefix}{}", status_of(id))).with_prefix(),
    ]
}

fn words(error: etcd_client::Error) -> String {
    match error {
        etcd_client::Error::GRpcStatus(status) => format!("etcd: {}", status.message()),
        other => format!("etcd: {other}"),
    }
}

/// A connection that may change users, and whether authentication is on.
async fn connect(config: &Config, folder: &Path) -> Result<(Client, bool), String> {
    let options = config.options().map_err(|e| e.to_string())?;
    let endpoints = || config.endpoints.clone();
    let open = async |options: ConnectOptions| Client::connect(endpoints(), Some(options)).await;
    if config.user.is_some() {
        return Ok((open(options).await.map_err(words)?, true));
    }
    let mut client = open(options.clone()).await.map_err(words)?;
    match client.user_list().await {
        Ok(_) => Ok((client, false)),
        Err(etcd_client::Error::GRpcStatus(status)) if status.message().contains("user name") => {
            let path = folder.join("root");
            let password = std::fs::read_to_string(&path).map_err(|e| {
                format!(
                    "{}: {e}: etcd asks for a password; name root's folder, or user and password",
                    path.display()
                )
            })?;
            let options = options.with_user("root", password.trim_end());
            Ok((open(options).await.map_err(words)?, true))
        }
        Err(error) => Err(words(error)),
    }
}

struct Etcd<'a> {
    client: Client,
    users: Vec<String>,
    folder: &'a Path,
}

impl Etcd<'_> {
    /// A user with a role of its own name that may do this.
    async fn user(&mut self, name: &str, permissions: Vec<Permission>) -> Result<(), String> {
        let (password, fresh) = password(&self.folder.join(name))?;
        if !self.users.iter().any(|user| user == name) {
            let added = self.client.user_add(name, password, None).await;
            added.map_err(words)?;
        } else if fresh {
            let changed = self.client.user_change_password(name, password).await;
            changed.map_err(words)?;
        }
        let made = self.client.role_add(name).await.map_err(words);
        if let Err(error) = made
            && !error.contains("already exists")
        {
            return Err(error);
        }
        for permission in permissions {
            let granted = self.client.role_grant_permission(name, permission).await;
            granted.map_err(words)?;
        }
        let granted = self.client.user_grant_role(name, name).await;
        granted.map(drop).map_err(words)
    }
}

/// The password of this file, and whether it was made now.
fn password(path: &PathBuf) -> Result<(String, bool), String> {
    let failed = |e: std::io::Error| format!("{}: {e}", path.display());
    if let Ok(text) = std::fs::read_to_string(path) {
        return Ok((text.trim_end().to_owned(), false));
    }
    let mut bytes = [0; 24];
    let source = std::fs::File::open("/dev/urandom");
    source
        .and_then(|mut source| source.read_exact(&mut bytes))
        .map_err(failed)?;
    let password: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    let mut options = std::fs::File::options();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(format!("{password}\n").as_bytes()))
        .map_err(failed)?;
    Ok((password, true))
}
