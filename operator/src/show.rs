//! What a verb writes to: text with few colours, or JSON.
//!
//! Colours are used on a terminal only, and not when `NO_COLOR` is set (no-color.org). A reader
//! that went away (`leafcutter … | head`) wants no more: writing goes on into nothing and the verb
//! ends when it looks.

use leafcutter_runtime::report;
use serde::Serialize;
use std::io::{IsTerminal as _, Write};

/// Colours, or none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Paint {
    on: bool,
}

impl Paint {
    /// No colours.
    pub const PLAIN: Self = Self { on: false };
    /// Colours.
    pub const COLOURED: Self = Self { on: true };

    fn wrap(self, code: &str, text: &str) -> String {
        if self.on && !text.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// What is beside the matter.
    #[must_use]
    pub fn dim(self, text: &str) -> String {
        self.wrap("2", text)
    }

    /// What is looked for first.
    #[must_use]
    pub fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    /// All is well.
    #[must_use]
    pub fn good(self, text: &str) -> String {
        self.wrap("32", text)
    }

    /// Somebody may want to look.
    #[must_use]
    pub fn attention(self, text: &str) -> String {
        self.wrap("33", text)
    }

    /// Something is wrong.
    #[must_use]
    pub fn bad(self, text: &str) -> String {
        self.wrap("31", text)
    }
}

/// Where a verb writes.
pub struct Show<'a> {
    out: &'a mut dyn Write,
    /// JSON is wanted.
    pub json: bool,
    /// Nothing is wanted but the answer.
    pub quiet: bool,
    /// Colours, or none.
    pub paint: Paint,
    /// A person is watching.
    pub terminal: bool,
    gone: bool,
}

impl std::fmt::Debug for Show<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Show")
            .field("json", &self.json)
            .finish_non_exhaustive()
    }
}

impl<'a> Show<'a> {
    /// To `out`, which is this process's standard output.
    pub fn on_stdout(out: &'a mut dyn Write, json: bool) -> Self {
        let terminal = std::io::stdout().is_terminal();
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let paint = if terminal && wanted && !json {
            Paint::COLOURED
        } else {
            Paint::PLAIN
        };
        Self {
            out,
            json,
            quiet: false,
            paint,
            terminal,
            gone: false,
        }
    }

    /// To `out`, which is no terminal.
    pub fn plain(out: &'a mut dyn Write, json: bool) -> Self {
        Self {
            out,
            json,
            quiet: false,
            paint: Paint::PLAIN,
            terminal: false,
            gone: false,
        }
    }

    /// Writes text as it is.
    pub fn text(&mut self, text: &str) {
        if !self.gone {
            let written = self
                .out
                .write_all(text.as_bytes())
                .and_then(|()| self.out.flush());
            self.gone = written.is_err();
        }
    }

    /// Writes one line.
    pub fn line(&mut self, line: &str) {
        self.text(&format!("{line}\n"));
    }

    /// Writes one JSON value over several lines, for a verb that has a single answer.
    pub fn json(&mut self, value: &impl Serialize) {
        // The types written here hold texts and numbers only, which cannot fail.
        let text = serde_json::to_string_pretty(value).unwrap_or_default();
        self.line(&text);
    }

    /// Writes one JSON value on one line, for a verb that has many.
    pub fn json_line(&mut self, value: &impl Serialize) {
        let text = serde_json::to_string(value).unwrap_or_default();
        self.line(&text);
    }

    /// Nobody reads any more.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.gone
    }
}

/// `text` and blanks up to `width` characters.
#[must_use]
pub fn left(text: &str, width: usize) -> String {
    format!("{text:<width$}")
}

/// Blanks and `text`, `width` characters.
#[must_use]
pub fn right(text: &str, width: usize) -> String {
    format!("{text:>width$}")
}

/// `text` in at most `width` characters, its end cut off.
#[must_use]
pub fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// `text` on one paragraph, each line after `indent`, so that none is longer than 80 columns.
#[must_use]
pub fn wrap(indent: &str, text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let wrapped = report::wrap(indent, indent, &words.join(" "));
    format!("{}\n", wrapped.trim_end())
}

/// JSON as a person reads it: what fits on a line stays on it, the rest is indented below. The
/// first line is not indented.
#[must_use]
pub fn layout(json: &serde_json::Value, indent: usize) -> String {
    lay(json, indent, indent)
}

/// With `column` characters in its first line already.
fn lay(json: &serde_json::Value, indent: usize, column: usize) -> String {
    let short = json.to_string();
    // Room for the comma behind it.
    if column + short.chars().count() < 80 {
        return short;
    }
    let inner = " ".repeat(indent + 2);
    let outer = " ".repeat(indent);
    match json {
        serde_json::Value::Object(fields) => {
            let line = |(name, value): (&String, &serde_json::Value)| {
                let lead = format!("{inner}{}: ", serde_json::Value::from(name.as_str()));
                let column = lead.chars().count();
                format!("{lead}{}", lay(value, indent + 2, column))
            };
            let lines: Vec<String> = fields.iter().map(line).collect();
            format!("{{\n{}\n{outer}}}", lines.join(",\n"))
        }
        serde_json::Value::Array(elements) => {
            let line = |value| format!("{inner}{}", lay(value, indent + 2, indent + 2));
            let lines: Vec<String> = elements.iter().map(line).collect();
            format!("[\n{}\n{outer}]", lines.join(",\n"))
        }
        _ => short,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_only_where_they_are_wanted() {
        assert_eq!(Paint::PLAIN.bad("x"), "x");
        assert_eq!(Paint::COLOURED.bad("x"), "\x1b[31mx\x1b[0m");
        assert_eq!(Paint::COLOURED.bad(""), "");
    }

    #[test]
    fn texts_are_cut_and_wrapped_by_characters() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöüß", 3), "äö…");
        let long = "word ".repeat(40);
        let wrapped = wrap("    ", &long);
        assert!(
            wrapped
                .lines()
                .all(|line| line.len() <= 80 && line.starts_with("    word"))
        );
        assert_eq!(wrapped.split_whitespace().count(), 40);
    }

    #[test]
    fn json_is_laid_out_and_stays_json() {
        let long = "x".repeat(60);
        let json = serde_json::json!({ "a": [1, 2, 3], "b": { "c": long, "d": [long, null] } });
        let text = layout(&json, 2);
        assert!(
            text.contains("\n    \"a\": [1,2,3],\n    \"b\": {\n"),
            "{text}"
        );
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&text).unwrap(),
            json
        );
    }

    #[test]
    fn a_reader_that_went_away_is_noticed() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let mut closed = Closed;
        let mut show = Show::plain(&mut closed, false);
        show.line("x");
        assert!(show.is_gone());
    }
}
