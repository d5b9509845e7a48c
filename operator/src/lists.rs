//! Lists of what there is to look at, as a person reads them: a title, a paragraph for each line, and not
//! without an end.
//!
//! Names and keys in them come from the database, so none of their controls may reach a terminal.

use crate::show::{Paint, wrap};

/// Lines of each list; the others are counted.
const LINES_MAX: usize = 40;

/// The first lines of a list, and how many more there are.
#[must_use]
pub fn bounded(mut lines: Vec<String>) -> Vec<String> {
    let more = lines.len().saturating_sub(LINES_MAX);
    lines.truncate(LINES_MAX);
    if more > 0 {
        lines.push(format!("and {more} more, all of them with --json"));
    }
    lines
}

/// A character that neither moves a terminal's cursor nor ends a comment.
#[must_use]
pub fn visible(c: char) -> char {
    let breaks = matches!(u32::from(c), 0x2028 | 0x2029 | 0xFEFF | 0xFFFE | 0xFFFF);
    if c.is_control() || breaks { '?' } else { c }
}

/// A list under its title, with a blank line before it.
#[must_use]
pub fn render(title: &str, lines: &[String], paint: Paint) -> String {
    let mut out = format!("\n{}\n", paint.attention(title));
    for line in lines {
        let line: String = line.chars().map(visible).collect();
        out.push_str(&wrap("  ", &line));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_bounded_and_harmless() {
        let many: Vec<String> = (0..50).map(|n| n.to_string()).collect();
        let shown = bounded(many);
        assert_eq!(shown.len(), 41);
        assert_eq!(shown[40], "and 10 more, all of them with --json");
        let text = render("Title:", &["a\u{1b}[2Jb".to_owned()], Paint::PLAIN);
        assert_eq!(text, "\nTitle:\n  a?[2Jb\n");
    }
}
