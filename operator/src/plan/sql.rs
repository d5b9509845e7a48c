//! The difference as SQL: what runs are statements, all else are comments.

use super::difference::{Before, Difference};
use crate::show::wrap;
use std::fmt::Write as _;

impl Difference {
    /// As a person reviews it, and may run it.
    pub(super) fn sql(&self) -> String {
        let mut out = String::new();
        comment(
            &mut out,
            "",
            &format!(
                "What mapping {} needs, and {} lacks.",
                self.mapping, self.server
            ),
        );
        comment(&mut out, "", &self.standing());
        for line in &self.changes {
            let change = &line.change;
            out.push_str("--\n");
            let name = format!("{}.{}", change.database, change.collection);
            comment(&mut out, "", &format!("{name}: {}", change.what.join("; ")));
            if let Some(command) = &line.command {
                comment(&mut out, "  ", &format!("afterwards: {command}"));
            }
        }
        out.push('\n');
        for statement in &self.statements {
            write!(out, "{statement};\n\n").unwrap_or_default();
        }
        if self.statements.is_empty() {
            out.push_str("-- No table, column, index or constraint is missing.\n\n");
        }
        if !self.later.is_empty() {
            comment(&mut out, "", "Once all rows have values there:");
            for statement in &self.later {
                statement_aside(&mut out, statement);
            }
            out.push('\n');
        }
        self.undecided(&mut out);
        format!("{}\n", out.trim_end())
    }

    /// Which mapping is in force.
    pub(super) fn standing(&self) -> String {
        let group = &self.group;
        match &self.before {
            Before::Nothing => {
                let others = match self.other_groups.as_slice() {
                    [] => String::new(),
                    others => format!(" Others have: --group {}?", others.join(", ")),
                };
                format!(
                    "No consumer of group {group} has run there: the first one puts its mapping in \
                     force.{others}"
                )
            }
            Before::Unknown => format!(
                "Nobody knows which mapping was in force in group {group}: its consumers were of an \
                 earlier version."
            ),
            Before::InForce(row) if self.changes.is_empty() => format!(
                "It is in force in group {group}, as generation {} since {}.",
                row.generation, row.since
            ),
            Before::InForce(row) => format!(
                "In group {group} mapping {} is in force, generation {}, since {}. What changes:",
                row.mapping, row.generation, row.since
            ),
        }
    }

    fn undecided(&self, out: &mut String) {
        if self.disagreements.is_empty() {
            return;
        }
        let text = "For a person to decide; `plan --apply` runs nothing of it. With a fault no consumer starts.";
        comment(out, "", text);
        for found in &self.disagreements {
            out.push_str("--\n");
            let weight = if found.fault { "fault" } else { "warning" };
            comment(out, "", &format!("{weight}: {}", found.place));
            comment(out, "  ", &format!("the mapping says: {}", found.mapping));
            comment(out, "  ", &format!("PostgreSQL has: {}", found.postgres));
            comment(out, "  ", &format!("so: {}", found.means));
            for statement in &found.sql {
                statement_aside(out, statement);
            }
            if let Some(or) = &found.or {
                comment(out, "  ", &format!("or: {or}"));
            }
        }
    }
}

fn comment(out: &mut String, indent: &str, text: &str) {
    out.push_str(&wrap(&format!("-- {indent}"), text));
}

/// A statement that is not run, line by line.
fn statement_aside(out: &mut String, statement: &str) {
    for line in format!("{statement};").lines() {
        writeln!(out, "--   {line}").unwrap_or_default();
    }
}
