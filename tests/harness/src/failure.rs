//! What goes wrong in the harness: one text with its causes, made for a person to read.
//!
//! A test or the demo never acts on the kind of a failure, it only shows it; so every error of
//! every driver becomes the same thing, and what was attempted is put before it.

use std::fmt::{self, Display};

/// A text that says what was attempted and why it failed.
pub struct Failure(String);

/// What everything in this crate that can fail gives back.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// A failure of our own making.
    pub fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(source) = cause {
            let more = source.to_string();
            // Some drivers repeat the cause in their own message.
            if !text.contains(&more) {
                text.push_str(": ");
                text.push_str(&more);
            }
            cause = source.source();
        }
        Self(text)
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The same text: a test that returns a failure prints it this way.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Puts what was attempted before the cause.
pub trait Attempt<T> {
    /// `could not <what>: <cause>`.
    ///
    /// # Errors
    /// The failure, with what was attempted before it.
    fn attempt(self, what: &str) -> Result<T>;
}

impl<T, E: Into<Failure>> Attempt<T> for std::result::Result<T, E> {
    fn attempt(self, what: &str) -> Result<T> {
        self.map_err(|error| Failure(format!("could not {what}: {}", error.into())))
    }
}
