//! Where `secrets_key` comes from: the configuration, or a file beside the SQLite database.

use super::{Config, ConfigProblem};
use crate::secrets::{SecretsKey, random_id};
use secrecy::ExposeSecret;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

pub(super) fn known(config: &Config) -> Result<Option<SecretsKey>, ConfigProblem> {
    if let Some(text) = &config.secrets_key {
        let key = SecretsKey::from_base64(text.expose_secret());
        return key.map(Some).ok_or_else(|| problem("secrets_key", "is not the base64 text of 32 bytes"));
    }
    key_file(&config.database_url).map_or(Ok(None), |path| read(&path))
}

pub(super) fn of(config: &Config, may_make: bool) -> Result<SecretsKey, ConfigProblem> {
    if let Some(key) = known(config)? {
        return Ok(key);
    }
    let path = key_file(&config.database_url)
        .ok_or_else(|| problem("secrets_key", "is required: a database in memory has no place for a key file"))?;
    let place = path.display().to_string();
    if !may_make {
        let told = "is missing, and what the database holds was made with it: restore it from your backup";
        return Err(problem(&place, told));
    }
    make(&path).map_err(|error| problem(&place, format!("cannot be made: {error}")))?;
    read(&path)?.ok_or_else(|| problem(&place, "vanished while it was made"))
}

fn problem(place: &str, problem: impl Into<String>) -> ConfigProblem {
    ConfigProblem { place: place.to_owned(), problem: problem.into() }
}

/// `<database file>.secrets_key`; none for a database in memory.
fn key_file(database_url: &str) -> Option<PathBuf> {
    let path = database_url.strip_prefix("sqlite:")?;
    let path = path.strip_prefix("//").unwrap_or(path);
    let path = path.split('?').next().unwrap_or(path);
    (!path.is_empty() && path != ":memory:").then(|| PathBuf::from(format!("{path}.secrets_key")))
}

/// The key in the file; none if there is no file.
fn read(path: &Path) -> Result<Option<SecretsKey>, ConfigProblem> {
    let place = path.display().to_string();
    let cannot = |error: io::Error| problem(&place, format!("cannot be read: {error}"));
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(cannot(error)),
    };
    // Asked of the open file, so that it cannot be exchanged in between.
    let mode = file.metadata().map_err(cannot)?.permissions().mode();
    if mode & 0o077 != 0 {
        let told = format!("others may use it (mode {:04o}): run chmod 600 {place}", mode & 0o7777);
        return Err(problem(&place, told));
    }
    let mut text = Zeroizing::new(String::new());
    file.read_to_string(&mut text).map_err(cannot)?;
    SecretsKey::from_base64(&text).map(Some).ok_or_else(|| {
        problem(
            &place,
            "is not the base64 text of 32 bytes: restore it, since keys sealed with it cannot be opened else",
        )
    })
}

/// Writes a new key under a name of its own, then links it to the final name: whoever comes second finds the first
/// one's key, and nobody ever sees half a file.
fn make(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let draft = directory.join(random_id(".secrets_key"));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let key = SecretsKey::generate();
    let written = writeln!(file, "{}", key.to_base64().expose_secret()).and_then(|()| file.sync_all());
    let linked = written.and_then(|()| fs::hard_link(&draft, path));
    let removed = fs::remove_file(&draft);
    match linked {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    removed?;
    // The name must survive a power cut as surely as what will be sealed with the key.
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_file_lies_beside_the_database_file() {
        let file = |url: &str| key_file(url).map(|path| path.display().to_string());
        assert_eq!(file("sqlite://procura.db").as_deref(), Some("procura.db.secrets_key"));
        assert_eq!(file("sqlite:data/p.db?mode=rwc").as_deref(), Some("data/p.db.secrets_key"));
        assert_eq!(file("sqlite:///var/lib/p.db").as_deref(), Some("/var/lib/p.db.secrets_key"));
        assert_eq!(file("sqlite::memory:"), None);
        assert_eq!(file("postgres://db/procura"), None);
    }

    #[test]
    fn servers_that_start_at_once_agree_on_one_key() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("p.db.secrets_key");
        let keys: Vec<[u8; 32]> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        make(&path).unwrap();
                        read(&path).unwrap().unwrap().derive("x")
                    })
                })
                .collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]));
        let left: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["p.db.secrets_key"]);
    }
}
