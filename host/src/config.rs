//! The configuration file: read as written (`raw`), checked into something that cannot be wrong, and read again when it
//! changes.

pub mod raw;
pub mod checked;
pub mod reload;

pub use checked::Config;

use std::path::{Path, PathBuf};

/// Why a configuration file cannot be used. Says the file, the line and the key.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read {0}")]
    Read(PathBuf, #[source] std::io::Error),
    /// It is not TOML, or not of our keys and types.
    #[error("{file}:{line}: {message}")]
    Syntax {
        /// The file.
        file: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What was expected and what came.
        message: String,
    },
    /// A value cannot be.
    #[error("{file}:{line}: {key}: {message}")]
    Value {
        /// The file.
        file: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The key, from the top.
        key: String,
        /// What was expected and what came.
        message: String,
    },
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Read(path.to_owned(), error))?;
        Self::parse(&text, path)
    }

    /// Checks a file's text. `path` is where relative paths in it begin, and what errors name.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let raw: raw::Raw = toml::from_str(text).map_err(|error| ConfigError::Syntax {
            file: path.to_owned(),
            line: error.span().map_or(1, |span| line_of(text, span.start)),
            message: error.message().trim().to_owned(),
        })?;
        checked::check(raw, text, path)
    }
}

fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1
}
