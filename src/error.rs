//! The error type of the engine: a kind, a message and a source.

use std::error::Error as StdError;

use crate::suggest::{LONGEST_NAME, suggestions};

/// What the caller can do about an error. Each kind becomes one exception in Python.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// An option is unknown or out of range.
    Config,
    /// A search space, or a network of it, that cannot be built.
    Space,
    /// A genotype that is malformed or does not fit its space.
    Genotype,
    /// Data of the wrong shape, type or content.
    Data,
    /// A loss or a gradient is not finite.
    Numerical,
    /// A checkpoint that is damaged, or of another search.
    Checkpoint,
    /// A device that is not there or cannot do what is asked.
    Device,
    /// The device's memory does not hold the network.
    OutOfMemory,
    /// Another process of a search on several ranks failed or died.
    Ranks,
    /// The user asked to stop.
    Interrupted,
    /// A file that does not exist.
    NotFound,
    /// A file that cannot be read or written.
    Io,
    /// The engine itself, or libtorch below it, failed.
    Engine,
    /// An exception of the user's own code, raised unchanged.
    Foreign,
}

impl ErrorKind {
    /// Every kind, for tests that check completeness.
    pub const ALL: &[ErrorKind] = &[
        ErrorKind::Config,
        ErrorKind::Space,
        ErrorKind::Genotype,
        ErrorKind::Data,
        ErrorKind::Numerical,
        ErrorKind::Checkpoint,
        ErrorKind::Device,
        ErrorKind::OutOfMemory,
        ErrorKind::Ranks,
        ErrorKind::Interrupted,
        ErrorKind::NotFound,
        ErrorKind::Io,
        ErrorKind::Engine,
        ErrorKind::Foreign,
    ];
}

/// The kind says what the caller can do, the detail gives cause and remedy in a sentence or two, and the source is the
/// underlying error.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub struct Error {
    /// What the caller can do about it.
    pub kind: ErrorKind,
    /// Cause and remedy, for a person to read.
    pub detail: String,
    /// The underlying error, if any.
    #[source]
    pub source: Option<Box<dyn StdError + Send + Sync>>,
}

/// A result whose error type is [`Error`] by default.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of any kind.
    pub fn new(kind: ErrorKind, detail: impl Into<String>) -> Self {
        Error { kind, detail: detail.into(), source: None }
    }

    /// This error with its underlying error.
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// An option is unknown or out of range.
    pub fn config(detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, detail)
    }

    /// A space or a network of it cannot be built.
    pub fn space(detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Space, detail)
    }

    /// A genotype is malformed or does not fit.
    pub fn genotype(detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Genotype, detail)
    }

    /// Data are of the wrong shape, type or content.
    pub fn data(detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Data, detail)
    }

    /// A loss or a gradient is not finite.
    pub fn numerical(detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Numerical, detail)
    }

    /// A checkpoint is damaged or belongs to another search.
    pub fn checkpoint(detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Checkpoint, detail)
    }

    /// A device is not there or cannot do what is asked.
    pub fn device(detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Device, detail)
    }

    /// The engine or libtorch failed.
    pub fn engine(detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Engine, detail)
    }
}

/// Lists of at most this length are printed even if there is a suggestion.
const SHORT_LIST: usize = 20;

/// The message for an unknown name: what may be meant, if anything, and the list if it is short or there is no
/// suggestion.
pub fn unknown(what: &str, given: &str, known: &[&str]) -> String {
    let meant: Vec<String> = suggestions(given, known).iter().map(|name| format!("`{name}`")).collect();
    let mut text = format!("unknown {what} `{}`", cut(given));
    if let Some((last, others)) = meant.split_last() {
        let either = if others.is_empty() { String::new() } else { format!("{} or ", others.join(", ")) };
        text.push_str(&format!("; did you mean {either}{last}?"));
    }
    if meant.is_empty() || known.len() <= SHORT_LIST {
        let separator = if meant.is_empty() { "; " } else { " " };
        text.push_str(&format!("{separator}known: {}", known.join(", ")));
    }
    text
}

/// The text, truncated if it is long.
pub(crate) fn cut(text: &str) -> String {
    if text.chars().count() <= LONGEST_NAME {
        text.to_string()
    } else {
        text.chars().take(LONGEST_NAME).chain(['…']).collect()
    }
}
