//! The SQLite file: opening it, its layout, what is found in it, and setting it aside when it is damaged.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension};

use super::{JournalError, Recovered, Seen, chain, from_json, from_word};
use crate::digest::Digest;
use crate::switch::standing::{Gist, Standing};

/// Layout of the tables; a file of a newer one is left alone. What came with the second (links, pins, calls, digests) stands
/// beside the first and is not in its way: a process of an earlier version may still be running on the file when it is
/// taken over, or be taken into service again. What it writes is chained later, and `verify` says so.
pub(super) const LAYOUT: u32 = 1;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS releases (number INTEGER PRIMARY KEY, digest TEXT NOT NULL, spec TEXT NOT NULL, at TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS entries (
        id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, kind TEXT NOT NULL, door TEXT NOT NULL, who TEXT NOT NULL,
        why TEXT NOT NULL, from_release INTEGER, to_release INTEGER, receipt TEXT);
    CREATE TABLE IF NOT EXISTS trail (id INTEGER PRIMARY KEY CHECK (id = 1), trail TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS seen (door TEXT NOT NULL, name TEXT NOT NULL, content TEXT NOT NULL, PRIMARY KEY (door, name));
    CREATE TABLE IF NOT EXISTS links (link INTEGER PRIMARY KEY, entry INTEGER NOT NULL, what TEXT NOT NULL, hash TEXT NOT NULL);
    CREATE INDEX IF NOT EXISTS links_of_entries ON links (entry);
    CREATE TABLE IF NOT EXISTS chain (id INTEGER PRIMARY KEY CHECK (id = 1), floor INTEGER NOT NULL, last_number INTEGER NOT NULL);
    INSERT OR IGNORE INTO chain (id, floor, last_number) VALUES (1, 0, 0);
    CREATE TABLE IF NOT EXISTS pins (entry INTEGER PRIMARY KEY);
    CREATE TABLE IF NOT EXISTS calls (key TEXT PRIMARY KEY, request TEXT NOT NULL, entry INTEGER, receipt TEXT);
";

/// Bytes that the write-ahead log keeps when it is empty.
const LOG_BYTES_KEPT: u64 = 1024 * 1024;

/// Pages of it after which they go to the file itself: what is small fits on a disk that is nearly full.
const LOG_PAGES_MAX: u32 = 256;

/// What a file says when it is opened.
pub(super) struct Found {
    pub(super) recovered: Recovered,
    pub(super) last_id: u64,
    pub(super) links: u64,
    pub(super) head: Digest,
}

/// Opens the file to write it, or makes it.
pub(super) fn open(path: &Path) -> Result<(Connection, Found), JournalError> {
    let connection = Connection::open(path)?;
    // It holds what policies are told. Best effort: the folder is closed to others anyway.
    let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o600));
    let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version > LAYOUT {
        return Err(JournalError::Newer(path.to_owned(), version));
    }
    // Has to be said before there are tables; files that were made without it are made anew when they shrink.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES_KEPT)?;
    connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES_MAX)?;
    check(&connection)?;
    connection.execute_batch(SCHEMA)?;
    for column in ["from_digest", "to_digest"] {
        if connection.prepare(&format!("SELECT {column} FROM entries LIMIT 0")).is_err() {
            connection.execute_batch(&format!("ALTER TABLE entries ADD COLUMN {column} TEXT"))?;
        }
    }
    if version != LAYOUT {
        connection.pragma_update(None, "user_version", LAYOUT)?;
    }
    let found = find(&connection)?;
    Ok((connection, found))
}

/// Opens the file to read it, be it on a disk that takes nothing.
pub(super) fn open_to_read(path: &Path) -> Result<Connection, JournalError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let looked = |connection: Connection| {
        connection.query_row("SELECT COUNT(*) FROM sqlite_master", [], |_| Ok(()))?;
        Ok(connection)
    };
    let opened = Connection::open_with_flags(path, flags).and_then(looked);
    let log = fs::metadata(beside(path, "-wal")).map_or(0, |log| log.len());
    match opened {
        // SQLite wants to write beside the file to read it. It need not where nothing waits to be read there.
        Err(_) if log == 0 && path.exists() => {
            let escaped = path.display().to_string().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
            Ok(Connection::open_with_flags(format!("file:{escaped}?immutable=1"), flags).and_then(looked)?)
        }
        opened => Ok(opened?),
    }
}

/// What is found in a file, whoever is to write it.
pub(super) fn find(connection: &Connection) -> Result<Found, JournalError> {
    let standing: Option<String> =
        connection.query_row("SELECT trail FROM trail WHERE id = 1", [], |row| row.get(0)).optional()?;
    let standing = standing.map(|text| from_json("where the host stands", &text)).transpose()?;
    let last_number = connection.query_row(
        "SELECT MAX((SELECT COALESCE(MAX(number), 0) FROM releases), (SELECT last_number FROM chain))",
        [],
        |row| row.get(0),
    )?;
    let last_id = connection.query_row(
        "SELECT MAX(COALESCE((SELECT seq FROM sqlite_sequence WHERE name = 'entries'), 0), (SELECT COALESCE(MAX(id), 0) FROM entries))",
        [],
        |row| row.get(0),
    )?;
    let mut select = connection.prepare("SELECT door, name, content FROM seen")?;
    let rows = select.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?)))?;
    let mut seen = Vec::new();
    for row in rows {
        let (door, name, content) = row?;
        // A door of another version is none of ours.
        seen.extend(from_word(&door).map(|door| Seen { door, name, content }));
    }
    let (links, head) = chain::last(connection)?;
    let gists = standing.as_ref().map_or_else(|| Ok(BTreeMap::new()), |standing| gists(connection, standing))?;
    Ok(Found { recovered: Recovered { standing, gists, last_number, seen }, last_id, links, head })
}

/// What the releases of the trail are.
fn gists(connection: &Connection, standing: &Standing) -> Result<BTreeMap<u64, Gist>, JournalError> {
    let mut select = connection.prepare("SELECT spec FROM releases WHERE number = ?1")?;
    let mut gists = BTreeMap::new();
    for number in standing.trail.steps() {
        let text: Option<String> = select.query_row([number], |row| row.get(0)).optional()?;
        // What cannot be read cannot be gone back to either, and is told of then.
        gists.extend(text.and_then(|text| Some((*number, Gist::read(&text)?))));
    }
    Ok(gists)
}

fn check(connection: &Connection) -> Result<(), JournalError> {
    let said: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if said == "ok" { Ok(()) } else { Err(JournalError::Damaged(said)) }
}

/// Puts a file that is damaged under a name that says so, with what belongs to it. Nothing is overwritten.
pub(super) fn set_aside(path: &Path) -> std::io::Result<PathBuf> {
    let time = crate::time::rfc3339_now().replace([':', '.'], "-");
    let free = (0_u32..).map(|more| if more == 0 { String::new() } else { format!("-{more}") });
    let names = free.map(|more| beside(path, &format!(".damaged-{time}{more}")));
    let aside = names.into_iter().find(|name| !name.exists()).expect("some name is free");
    fs::rename(path, &aside)?;
    for part in ["-wal", "-shm"] {
        match fs::rename(beside(path, part), beside(&aside, part)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(aside)
}

/// The highest release number and entry id that can still be read of a file that was set aside.
pub(super) fn salvage(aside: &Path) -> (u64, u64) {
    let Ok(connection) = open_to_read(aside) else { return (0, 0) };
    let highest = |select: &str| connection.query_row(select, [], |row| row.get(0)).unwrap_or(0);
    (highest("SELECT COALESCE(MAX(number), 0) FROM releases"), highest("SELECT COALESCE(MAX(id), 0) FROM entries"))
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

impl JournalError {
    /// Whether the file is not what it was, and does not become so by waiting.
    pub(super) fn is_damage(&self) -> bool {
        match self {
            Self::Damaged(_) | Self::Lost | Self::Content(..) => true,
            Self::Sqlite(error) => matches!(
                error.sqlite_error_code(),
                // The last is what SQLite says of tables that are none of ours.
                Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt | ErrorCode::Unknown)
            ),
            _ => false,
        }
    }

    /// Whether the disk is to blame, and may be better later.
    pub(super) fn is_of_disk(&self) -> bool {
        match self {
            Self::Away(_) => true,
            Self::Sqlite(error) => matches!(
                error.sqlite_error_code(),
                Some(
                    ErrorCode::ReadOnly
                        | ErrorCode::DiskFull
                        | ErrorCode::CannotOpen
                        | ErrorCode::SystemIoFailure
                        | ErrorCode::PermissionDenied
                )
            ),
            _ => false,
        }
    }
}
