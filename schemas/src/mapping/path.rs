//! Paths into a document: `profile.native_language`, `items.0.sku`, dots in names escaped as `\.`.

/// A path into a document. An empty one is the element itself, written `.`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path(Vec<String>);

impl Path {
    /// Reads a path; `None` where a step is empty or the text ends in a single backslash.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "." {
            return Some(Self(Vec::new()));
        }
        let mut steps = vec![String::new()];
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            match character {
                '\\' => steps.last_mut()?.push(characters.next()?),
                '.' => steps.push(String::new()),
                other => steps.last_mut()?.push(other),
            }
        }
        steps
            .iter()
            .all(|step| !step.is_empty())
            .then_some(Self(steps))
    }

    /// The path of a single step, whatever is in its name.
    pub fn name(name: &str) -> Self {
        Self(vec![name.to_owned()])
    }

    /// The steps, outermost first.
    pub fn steps(&self) -> &[String] {
        &self.0
    }

    /// Whether this is the element itself.
    pub fn is_self(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_self() {
            return f.write_str(".");
        }
        for (index, step) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(".")?;
            }
            f.write_str(&step.replace('\\', "\\\\").replace('.', "\\."))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_come_back_as_written() {
        for text in [
            "a",
            "profile.native_language",
            "items.0.sku",
            r"a\.b.c\\d",
            ".",
        ] {
            assert_eq!(Path::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "a..b", ".a", "a.", "a\\"] {
            assert_eq!(Path::parse(text), None, "{text}");
        }
        assert_eq!(Path::parse(r"a\.b").unwrap().steps(), ["a.b"]);
    }
}
